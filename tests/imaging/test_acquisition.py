"""Statistics of how a film was taken, against NumPy and what was done to the film."""

import cv2
import numpy as np
import pandas as pd
import pytest

from common.imaging.acquisition import GROUPS, acquisition, as_table, as_text
from common.imaging.dicom import read_radiograph
from tests.helpers.fixtures import jpeg_bytes, write_dicom


def noise(rows=160, columns=160, seed=1):
    """Film-like noise that is the same in every direction."""
    noise = np.random.default_rng(seed).normal(0, 1, (rows, columns))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + 250 * smooth, 0, 255).astype(np.uint8)


def of(folder, pixels, **elements):
    """The statistics of pixels that were stored as DICOM."""
    path = write_dicom(folder / "film.dcm", pixels, **elements)
    return acquisition(read_radiograph(path), path.stat().st_size)


def changed(before, after):
    """The groups in which a number differs by more than a hundredth of itself."""
    names = [name for name in before if isinstance(before[name], int | float)]
    return {
        name.split(".")[0]
        for name in names
        if abs(before[name] - after[name]) > 0.01 * max(1, abs(before[name]))
    }


def test_every_group_has_statistics(tmp_path):
    statistics = of(tmp_path, noise())
    assert {name.split(".")[0] for name in statistics} == set(GROUPS)


def test_tone_is_numpys(tmp_path):
    pixels = noise(90, 130)
    pixels[:9] = 0
    tone = of(tmp_path, pixels)
    assert tone["tone.mean"] == pytest.approx(pixels.mean())
    assert tone["tone.deviation"] == pytest.approx(pixels.std())
    assert tone["tone.black"] == pytest.approx((pixels == 0).mean())
    assert tone["tone.levels"] == len(np.unique(pixels))
    for share in (1, 25, 50, 99):
        expected = np.percentile(pixels, share, method="inverted_cdf")
        assert tone[f"tone.p{share}"] == expected


def test_a_film_that_was_squashed_into_a_square_shows_its_proportions(tmp_path):
    wide = noise(160, 240)
    square = cv2.resize(wide, (160, 160), interpolation=cv2.INTER_AREA)
    whole, squashed = of(tmp_path, wide), of(tmp_path, square)
    assert whole["shape.proportions"] == pytest.approx(np.log(160 / 240))
    assert squashed["shape.proportions"] == 0
    assert abs(whole["shape.gradients_2"]) < 0.15
    # Gradients across became 240 / 160 times as steep; the logarithm is of their squares.
    assert squashed["shape.gradients_2"] == pytest.approx(2 * np.log(1.5), abs=0.2)


def test_a_turned_film_has_the_other_shape_and_all_else_alike(tmp_path):
    pixels = noise(120, 200)
    one, other = of(tmp_path, pixels), of(tmp_path, np.ascontiguousarray(pixels.T))
    for name in one:
        if name.startswith("shape.") and name != "shape.pixels":
            assert other[name] == pytest.approx(-one[name], abs=1e-5)
        elif name.startswith("tone."):
            assert other[name] == pytest.approx(one[name])


def test_what_is_done_to_a_film_is_seen_in_its_group(tmp_path):
    pixels = noise()
    plain = of(tmp_path, pixels)
    corner = pixels.copy()
    corner[:16, :16] = 255
    assert "frame" in changed(plain, of(tmp_path, corner))
    blurred = of(tmp_path, cv2.GaussianBlur(pixels, (0, 0), 1.5))
    assert blurred["sharpness.details_1"] < plain["sharpness.details_1"] - 0.4
    poor = of(tmp_path, pixels, jpeg=jpeg_bytes(pixels, quality=10))
    assert poor["sharpness.blocks_across"] > plain["sharpness.blocks_across"] + 0.2
    assert poor["file.bytes_per_pixel"] < plain["file.bytes_per_pixel"] - 1
    assert poor["file.compression"] != plain["file.compression"]
    bars = pixels.copy()
    bars[:, :40] = 0
    assert of(tmp_path, bars)["frame.bars_down"] == 0.25 > plain["frame.bars_down"]


def test_tags_are_those_of_the_file_and_a_station_has_no_name(tmp_path):
    statistics = of(
        tmp_path, noise(), Manufacturer="GE <b>MEDICAL</b>", StationName="ROOM-7",
        ViewPosition="AP", PixelSpacing=[0.2, 0.3],
    )  # fmt: skip
    assert statistics["tags.maker"] == "GE bMEDICAL/b"
    assert statistics["tags.view"] == "AP" and statistics["tags.row_mm"] == 0.2
    assert len(statistics["tags.station"]) == 12
    assert "ROOM" not in as_text(statistics)
    assert of(tmp_path, noise())["tags.station"] == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (3000, 20)])
def test_films_of_any_size_have_finite_statistics(tmp_path, shape):
    statistics = of(tmp_path, np.full(shape, 7, np.uint8))
    numbers = [value for value in statistics.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()


def test_a_table_holds_what_the_texts_hold_and_no_other_version(tmp_path):
    one, other = of(tmp_path, noise()), of(tmp_path, noise(seed=2), PixelSpacing=[0.2, 0.3])
    table = as_table([("a", as_text(one)), ("b", as_text(other)), ("c", ""), ("d", "[1,2]")])
    assert list(table.index) == ["a", "b"] and list(table) == list(one)
    assert table.loc["a", "tone.mean"] == pytest.approx(one["tone.mean"], rel=1e-4)
    assert np.isnan(table.loc["a", "tags.row_mm"]) and table.loc["b", "tags.row_mm"] == 0.2
    assert as_table([]).empty


def test_a_table_is_the_same_in_however_many_parts_it_is_made(tmp_path, monkeypatch):
    spacings = [None, None, [0.2, 0.3], None, [0.1, 0.1]]
    texts = [
        (
            str(number),
            as_text(of(tmp_path, noise(seed=number), **({"PixelSpacing": mm} if mm else {}))),
        )
        for number, mm in enumerate(spacings)
    ]
    whole = as_table(texts)
    monkeypatch.setattr("common.imaging.acquisition._AT_ONCE", 2)
    pd.testing.assert_frame_equal(as_table(texts), whole)
