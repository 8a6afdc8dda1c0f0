"""Volumes as GIFs: they are opened, and what was drawn is looked for."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw, ImageSequence

from common.reporting.gifs import (
    MAX_BYTES,
    PANEL_SIDE,
    Panel,
    Slices,
    slice_picture,
    write_gif,
    write_sheet,
    write_slice,
)
from common.reporting.mark import MARGIN
from common.reporting.palette import INK, MARK, PREDICTION, TRUTH

TEXT = 18
"""Rows over and under the slices."""


def frames(path):
    with Image.open(path) as image:
        assert image.format == "GIF"
        return [
            np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)
        ]


def written(path, image, panels=None, spacing=(1, 1, 1), synthetic=False, **options):
    panels = [Panel("truth")] if panels is None else panels
    slices = Slices(image, spacing, panels, "case a", synthetic)
    write_gif(path / "a.gif", slices, **options)
    return frames(path / "a.gif")


def volume(shape=(24, 30, 6)):
    """Grey, brighter from slice to slice."""
    return np.broadcast_to(np.linspace(60, 160, shape[2]), shape).copy()


def coloured(picture, colour):
    return np.abs(picture - ImageColor.getrgb(colour)).max(-1) < 40


def centre_of(mask):
    return [float(places.mean()) for places in np.nonzero(mask)]


def film(frame):
    """A frame without its lines of text."""
    return frame[TEXT:-TEXT]


def test_a_frame_a_slice_from_the_feet_to_the_head(tmp_path):
    found = written(tmp_path, volume())
    assert len(found) == 6
    means = [np.median(film(frame)[:, :-4]) for frame in found]
    assert means == sorted(means) and means[-1] - means[0] > 60


def test_the_patients_right_is_left_and_the_front_on_top(tmp_path):
    image = np.full((40, 40, 3), 30.0)
    # Canonical axes run to the right, to the front and to the head.
    image[30:38, 28:38, 1] = 250
    bright = [film(frame)[:, :PANEL_SIDE].mean(-1) > 200 for frame in written(tmp_path, image)]
    assert not bright[0].any() and not bright[2].any()
    row, column = centre_of(bright[1])
    assert row < PANEL_SIDE / 3 and column < PANEL_SIDE / 3
    assert row == pytest.approx((40 - 33) / 40 * PANEL_SIDE, abs=2)
    assert column == pytest.approx((40 - 34) / 40 * PANEL_SIDE, abs=2)


@pytest.mark.parametrize(
    ("shape", "spacing", "size"),
    [
        ((40, 40, 2), (1, 1, 1), (260, 260)),
        ((40, 20, 2), (1, 2, 1), (260, 260)),
        ((40, 20, 2), (1.5, 1.5, 9), (260, 130)),
        ((20, 40, 2), (1, 1, 1), (130, 260)),
    ],
)
def test_proportions_are_those_in_millimetres(tmp_path, shape, spacing, size):
    width, height = size
    (frame, _) = written(tmp_path, volume(shape), spacing=spacing)
    assert frame.shape == (height + 2 * TEXT, width + 4, 3)
    (frame, _) = written(tmp_path, volume(shape), [Panel("a"), Panel("b")], spacing)
    assert frame.shape == (height + 2 * TEXT, 2 * (width + 4), 3)


def test_truth_is_blue_and_prediction_red_each_in_its_panel(tmp_path):
    image = volume((40, 40, 3))
    truth, predicted = (np.zeros(image.shape, bool) for _ in range(2))
    truth[25:35, 25:35, 1] = True
    predicted[5:15, 5:15, 1] = True
    panels = [Panel("FCN-8", prediction=predicted), Panel("U-Net", truth, predicted)]
    found = written(tmp_path, image, panels)
    left, right = film(found[1])[:, : PANEL_SIDE + 4], film(found[1])[:, PANEL_SIDE + 4 :]
    assert not coloured(left, TRUTH).any()
    for panel in (left, right):
        row, column = centre_of(coloured(panel, PREDICTION))
        assert (row, column) == (pytest.approx(30 / 40 * 260, abs=2),) * 2
    row, column = centre_of(coloured(right, TRUTH))
    assert (row, column) == (pytest.approx(10 / 40 * 260, abs=2),) * 2
    for frame in (found[0], found[2]):
        assert not coloured(film(frame), TRUTH).any()
        assert not coloured(film(frame), PREDICTION).any()


def test_the_image_stays_visible_under_an_area(tmp_path):
    image = np.zeros((40, 40, 2))
    image[::2] = 200
    image[:, :, 1] += 20
    mask = np.ones(image.shape, bool)
    inside = film(written(tmp_path, image, [Panel("truth", mask)])[0])[100:160, 100:160]
    assert np.ptp(inside.mean(-1)) > 80


@pytest.mark.parametrize("mark", [True, "MODEL OF SYNTHETIC DATA"])
def test_what_was_made_up_is_marked_over_every_frame_and_not_on_it(tmp_path, mark):
    plain, marked = written(tmp_path, volume()), written(tmp_path, volume(), synthetic=mark)
    for frame, other in zip(plain, marked, strict=True):
        assert (other[MARGIN:, : frame.shape[1]] == frame).all()
        assert coloured(other[:MARGIN], MARK).mean() > 0.5


def test_r_and_l_stand_over_the_edges_of_every_panel(tmp_path):
    # Letters are read by drawing them: what is left over an edge is that letter and no other.
    panels = [Panel(""), Panel("a title that is much too long for the width of a single panel")]
    found = written(tmp_path, volume((40, 40, 2)), panels)
    for frame in found:
        for x in (0, PANEL_SIDE + 4):
            for letter, place in (("R", x + 2), ("L", x + PANEL_SIDE - 8)):
                drawn = Image.new("RGB", frame.shape[1::-1], "white")
                ImageDraw.Draw(drawn).text((place, 3), letter, fill=INK)
                part = np.s_[:TEXT, place : place + 8]
                expected = np.asarray(drawn).astype(int)[part]
                assert np.abs(frame[part] - expected).mean() < 6 < np.abs(255 - expected).mean()


def test_no_more_than_eight_frames_a_second(tmp_path):
    written(tmp_path, volume())
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] >= 125


def test_a_sheet_shows_the_slices_that_have_a_mask(tmp_path):
    image = np.broadcast_to(np.arange(60, 120, 2.0), (24, 30, 30)).copy()
    truth, prediction = (np.zeros(image.shape, bool) for _ in range(2))
    truth[5:15, 5:15, 4:9] = True
    prediction[8:12, 8:12, 11] = True
    panels = [Panel("a", truth), Panel("b", prediction=prediction)]
    for synthetic, margin in ((False, 0), (True, MARGIN)):
        slices = Slices(image, (1, 1, 1), panels, "case a", synthetic)
        path = write_sheet(tmp_path / "a.png", slices)
        with Image.open(path) as picture:
            sheet = np.asarray(picture).astype(int)[margin:]
        unmarked = replace(slices, synthetic=False)
        frames = [slice_picture(unmarked, number) for number in range(4, 12)]
        height, width, _ = frames[0].shape
        assert sheet.shape == (2 * height, 4 * width, 3)
        for number, frame in enumerate(frames):
            row, column = divmod(number, 4)
            part = sheet[row * height :][:height, column * width :][:, :width]
            assert (part == frame).all(), number


def test_a_slice_alone_is_a_frame_of_the_gif_and_may_be_larger(tmp_path):
    slices = Slices(volume(), (1, 1, 1), [Panel("truth")], "case a", "MADE UP")
    path = write_slice(tmp_path / "a.png", slices, 2)
    with Image.open(path) as picture:
        assert (np.asarray(picture) == slice_picture(slices, 2)).all()
    with Image.open(write_slice(path, slices, 2, 2 * PANEL_SIDE)) as picture:
        assert picture.height == 2 * PANEL_SIDE + 2 * TEXT + MARGIN


def test_a_sheet_of_a_large_volume_without_a_mask_has_twenty_slices(tmp_path):
    slices = Slices(volume((24, 30, 90)), (1, 1, 1), [Panel("a")], "", False)
    path, frame = write_sheet(tmp_path / "a.png", slices), slice_picture(slices, 0)
    with Image.open(path) as picture:
        assert picture.size == (4 * frame.shape[1], 5 * frame.shape[0])
        first, last = (np.asarray(picture)[TEXT + 10, x, 0] for x in (40, 3 * frame.shape[1] + 40))
        bottom = np.asarray(picture)[4 * frame.shape[0] + TEXT + 10, 3 * frame.shape[1] + 40, 0]
    assert first == 60 and first < last < bottom == 160


def test_every_frame_says_its_slice(tmp_path):
    found = written(tmp_path, np.full((20, 20, 4), 50.0))
    lines = {frame[-TEXT:].tobytes() for frame in found}
    assert len(lines) == 4


def test_a_gif_that_is_too_large_shows_fewer_slices(tmp_path):
    image = np.random.default_rng(0).uniform(0, 255, (60, 60, 7))
    whole = written(tmp_path, image)
    size = (tmp_path / "a.gif").stat().st_size
    half = written(tmp_path, image, max_bytes=size - 1)
    assert (len(whole), len(half)) == (7, 4)
    assert (tmp_path / "a.gif").stat().st_size < size
    # The slices keep their numbers, and the whole takes as long.
    lines = [np.abs(half[1] - frame)[-TEXT:].mean() for frame in whole]
    assert np.argmin(lines) == 2
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == 260 and image.info["loop"] == 0


def test_a_large_volume_is_under_three_megabytes(tmp_path):
    image = np.random.default_rng(0).uniform(0, 255, (80, 80, 60))
    found = written(tmp_path, image, [Panel("a"), Panel("b")])
    assert (tmp_path / "a.gif").stat().st_size <= MAX_BYTES == 3_000_000
    assert 10 <= len(found) < 60


def test_the_slices_own_dice_stands_over_it(tmp_path):
    truth = np.zeros((24, 30, 3), np.uint8)
    truth[5:15, 5:15, :2] = 1
    predicted = truth.copy()
    predicted[5:10, 5:15, 1] = 0
    panels = [Panel("U-Net, Dice 0.900", truth, predicted), Panel("truth", truth)]
    found = written(tmp_path, volume((24, 30, 3)), panels)
    middle = found[0].shape[1] // 2
    scores = {frame[:TEXT, :middle].tobytes() for frame in found}
    others = {frame[:TEXT, middle:].tobytes() for frame in found}
    assert len(scores) == 3 and len(others) == 1


def test_every_label_has_a_contour_of_its_own(tmp_path):
    one = np.zeros((40, 40, 1), np.uint8)
    one[5:35, 5:35] = 1
    two = one.copy()
    two[15:25, 15:25] = 2
    drawn = [
        coloured(film(written(tmp_path, volume((40, 40, 1)), [Panel("a", mask)])[0]), TRUTH)
        for mask in (one, two)
    ]
    assert drawn[1].sum() > 1.2 * drawn[0].sum()
    # Around the inner label, 10 of 40 pixels from the left.
    assert drawn[1][130, 98:106].any() and not drawn[0][130, 80:180].any()
