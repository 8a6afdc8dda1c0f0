"""The three orthogonal views: opened, and what was drawn is looked for."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from common.reporting.figures import PREDICTION, TRUTH
from common.reporting.orthogonal_views import views_picture

SHAPE = (40, 50, 30)


def written(tmp_path, truth, predictions, image=None, spacing=(1, 1, 1), synthetic=False):
    image = np.zeros(SHAPE) if image is None else image
    path = views_picture(
        tmp_path / "v.png", image, spacing, truth, predictions, "case a", synthetic
    )
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def coloured(picture, colour):
    return np.abs(picture - ImageColor.getrgb(colour)).max(-1) < 40


def films(picture):
    """The columns and rows (x0, x1, y0, y1) of the three black slices."""
    dark = (picture.max(-1) < 10).sum(0) > 40
    starts = np.flatnonzero(np.diff(np.pad(dark, 1).astype(int)))
    spans = [(a, b) for a, b in zip(starts[::2], starts[1::2], strict=True) if b - a > 100]
    found = []
    for x0, x1 in spans:
        rows = np.flatnonzero((picture[:, x0:x1].max(-1) < 10).mean(1) > 0.5)
        found.append((x0, x1, rows[0], rows[-1] + 1))
    return found


def cube(centre, side=8):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(c - side // 2, c + side // 2) for c in centre)] = 1
    return mask


def test_the_truths_middle_is_cut_and_lies_as_in_radiology(tmp_path):
    # Far to the right, the front and the head: at the left (or front) and on top in every view.
    truth = cube((33, 42, 24))
    picture = written(tmp_path, truth, {"U-Net": np.zeros_like(truth)})
    blue = coloured(picture, TRUTH)
    assert len(films(picture)) == 3
    for (x0, x1, y0, y1), place in zip(
        films(picture), ((33 / 40, 42 / 50), (33 / 40, 24 / 30), (42 / 50, 24 / 30)), strict=True
    ):
        rows, columns = np.nonzero(blue[y0:y1, x0:x1])
        middle = np.array([np.ptp(columns) / 2 + columns.min(), np.ptp(rows) / 2 + rows.min()])
        expected = 1 - np.array(place)
        assert np.allclose(middle / (x1 - x0, y1 - y0), expected, atol=0.03)
    assert not coloured(picture, PREDICTION)[: films(picture)[0][3]].any()


def test_a_slice_keeps_its_proportions_in_millimetres(tmp_path):
    truth = cube((20, 25, 15))
    picture = written(tmp_path, truth, {"a": truth}, spacing=(1, 1, 3))
    lengths = [((x1 - x0), (y1 - y0)) for x0, x1, y0, y1 in films(picture)]
    expected = [(40, 50), (40, 90), (50, 90)]
    for (width, height), (across, up) in zip(lengths, expected, strict=True):
        assert width / height == pytest.approx(across / up, rel=0.03)


def test_every_prediction_has_a_row_and_every_label_a_contour(tmp_path):
    truth = cube((20, 25, 15), 16)
    labels = truth.copy()
    labels[16:24, 21:29, 11:19] = 2
    one = coloured(written(tmp_path, truth, {"a": truth}), PREDICTION)
    two = coloured(written(tmp_path, truth, {"a": truth, "b": labels}), PREDICTION)
    assert two.shape[0] > 1.7 * one.shape[0]
    upper, lower = np.array_split(two, 2)
    assert lower.sum() > 1.3 * upper.sum()


def test_without_a_truth_the_prediction_is_cut_and_nothing_at_all_is_drawn_too(tmp_path):
    empty = np.zeros(SHAPE, np.uint8)
    found = written(tmp_path, empty, {"a": cube((33, 42, 24))})
    assert coloured(found, PREDICTION).sum() > 500
    assert len(films(written(tmp_path, empty, {"a": empty}))) == 3


def test_what_was_made_up_is_marked_over_the_films_and_not_on_them(tmp_path):
    truth = cube((20, 25, 15))
    image = np.full(SHAPE, 130.0)
    plain, marked = (
        written(tmp_path, truth, {"a": truth}, image, synthetic=made_up) for made_up in (0, 1)
    )
    assert len(marked) > len(plain) and (marked[-len(plain) :] == plain).all()
