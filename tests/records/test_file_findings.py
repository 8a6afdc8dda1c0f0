"""What a dataset's files say before any is decoded: their bytes, and the disk that they need."""

import shutil

import pandas as pd

from common.datasets.decathlon import index_volumes
from common.records.file_findings import also_test, bytes_of, disk, missing_images
from tests.datasets.test_decathlon import describe, make


def test_a_folder_of_slices_has_the_bytes_of_its_files(tmp_path):
    for name, size in {"a/1.dcm": 10, "a/2.dcm": 20, "b.nii": 40, "b-mask.nii": 5}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    cases = pd.DataFrame(
        {"path": ["a", "b.nii", ""], "mask_path": ["", "b-mask.nii", ""]}, [7, 3, 5]
    )
    # Neither is read with them.
    (tmp_path / "a" / "report.pdf").symlink_to("nowhere.pdf")
    (tmp_path / "a" / ".trash").write_bytes(b"x" * 80)
    assert bytes_of(tmp_path, cases).to_dict() == {7: 30, 3: 45, 5: 0}
    assert bytes_of(tmp_path, cases[["path"]], [tmp_path / "a"]).to_dict() == {7: 30, 3: 40, 5: 0}


def test_a_disk_that_is_too_small_is_a_finding(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert not list(disk(tmp_path, 1))
    (finding,) = disk(tmp_path, 2 * free + 10**9)
    assert finding.check == "free disk" and "MB are free, the source files have" in finding.detail


def test_images_that_are_missing_are_those_of_a_list_or_of_masks(tmp_path):
    make(tmp_path, ["a", "b"], masks=["a", "b", "c"])
    (line,) = missing_images(index_volumes(tmp_path)[0])
    assert line.startswith("NO IMAGE: 1 of 3 masks without an image; was a download")
    describe(tmp_path, ["a", "c"])
    (line,) = missing_images(index_volumes(tmp_path)[0])
    assert line.startswith("NO IMAGE: 1 of the 2 images that dataset.json names are not here; was")
    describe(tmp_path, ["a", "b"])
    assert missing_images(index_volumes(tmp_path)[0]) == []


def test_an_image_is_also_a_test_image_by_its_whole_name_which_may_be_a_uid(tmp_path):
    test = tmp_path / "stage_2_test_images"
    test.mkdir()
    for name in ("1.2.840.3", "1.2.840.5.dcm", "other.dcm"):
        (test / name).touch()
    names = ["1.2.840.4", "1.2.840.5", "1.2.840.3"]
    cases = pd.DataFrame({"case": names, "path": [f"stage_2_train_images/{n}" for n in names]})
    assert [finding.where for finding in also_test(tmp_path, cases)] == names[1:]
