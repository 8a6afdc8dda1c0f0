"""Which files are in a part, and where pictures go."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from common.base.parts import Part
from common.prediction.inputs import Input
from common.prediction.predictions import Predictions, _identity


def files(count):
    return [Input(n, Path(f"{n}.dcm"), f"{n}.dcm", f"{n}.dcm", str(n)) for n in range(count)]


@given(some.integers(0, 300), some.integers(1, 40), some.integers(1, 50))
def test_parts_are_all_files_in_order_and_cut_no_batch(count, parts, batch):
    members = [Part(number, parts, batch).members(count) for number in range(1, parts + 1)]
    assert [number for part in members for number in part] == list(range(count))
    assert all(part[0] % batch == 0 for part in members if part)
    sizes = [-(-len(part) // batch) for part in members]
    assert max(sizes) - min(sizes) <= 1


def test_a_folder_has_at_most_a_thousand_pictures():
    for count, limit, folders in ((1000, -1, 1), (2500, -1, 3), (2500, 1000, 1), (2500, 1001, 2)):
        predictions = Predictions(Path(), [], {}, "", {}, total=count)
        paths = [predictions.picture_path(file, limit) for file in files(count)]
        drawn = [Path(path) for path in paths if path]
        assert len(set(drawn)) == (count if limit < 0 else limit)
        assert len({path.parent for path in drawn}) == folders
    assert predictions.picture_path(files(1001)[1000], -1) == "pictures/0001/1000.png"
    assert predictions.picture_path(files(1001)[0], 1000) == "pictures/0.png"


def test_a_volume_of_slices_is_another_when_a_slice_is_whatever_lies_beside(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(bytes(9))
    volume = Input(0, folder, "s", "s", "s")
    before = _identity(volume)
    (folder / "lost.pdf").symlink_to("nowhere.pdf")
    assert _identity(volume) == before
    (folder / "1.dcm").write_bytes(bytes(10))
    assert _identity(volume) != before
