"""Pictures as PNG: they are opened, and what was drawn is looked for."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from common.reporting import charts, figures
from common.reporting.mark import MARGIN, with_mark
from common.reporting.palette import MARK, PREDICTION, SECOND, TRUTH
from common.scores.calibration import reliability
from tests.helpers.fixtures import soft_image

BLACK = np.zeros((100, 60))
STYLES = ((PREDICTION, "o"), (SECOND, "s"))


def opened(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def coloured(picture, colour):
    """Where a picture has a colour, nearly: (height, width)."""
    return np.abs(picture - ImageColor.getrgb(colour)).max(-1) < 40


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def film_box(picture):
    """The box of the film, which is black where no text is."""
    dark = picture.max(-1) < 20
    # Text is thin: a row of the film is dark over a good part of the picture.
    rows, columns = dark.mean(1) > 0.3, dark.mean(0) > 0.3
    return box_of(rows[:, None] & columns[None, :])


def without_legend(picture, mask):
    """A mask within the film alone."""
    x0, y0, x1, y1 = film_box(picture).astype(int)
    inside = np.zeros_like(mask)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask & inside


@pytest.mark.parametrize(("rows", "columns"), [(100, 60), (60, 100), (80, 80)])
def test_boxes_are_drawn_in_their_colours_at_their_places(tmp_path, rows, columns):
    film = np.zeros((rows, columns))
    truth, predicted = np.array([10, 20, 40, 50]), np.array([25, 30, 50, 55])
    path = figures.box_picture(tmp_path / "a.png", film, truth, predicted, "case a", False)
    picture = opened(path)
    x0, y0, x1, y1 = film_box(picture)
    scale = (x1 - x0) / columns
    assert scale == pytest.approx((y1 - y0) / rows, rel=0.01)
    assert min(x1 - x0, y1 - y0) > 300
    for box, colour in ((truth, TRUTH), (predicted, PREDICTION)):
        seen = box_of(without_legend(picture, coloured(picture, colour)))
        expected = box * scale + [x0, y0, x0, y0]
        # A line is 1.8 points wide, 3 pixels, half of it outside.
        assert np.abs(seen - expected).max() <= 3


@pytest.mark.parametrize(("rows", "columns"), [(180, 60), (60, 180), (80, 80)])
def test_a_title_of_two_lines_is_not_cut(tmp_path, rows, columns):
    title = f"{'M' * 28}\nIoU 0.64"
    path = figures.box_picture(
        tmp_path / "a.png", np.zeros((rows, columns)), [1, 1, 9, 9], [2, 2, 9, 9], title, False
    )
    picture = opened(path)
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all((edge == 255).all() for edge in edges)
    # Above the film stand two lines of text, with paper between them.
    y0 = int(film_box(picture)[1])
    written = (picture[: y0 - 2].min((1, 2)) < 128).astype(int)
    assert (np.diff(written, prepend=0) == 1).sum() >= 2


@pytest.mark.parametrize("name", ["$$", "US$5_{a}$", "cost$^$x", r"\alpha", "a_b^c"])
def test_a_name_is_drawn_as_it_is_and_not_as_a_formula(name):
    figure, axes = figures.new_figure(1, 1, 2, 2)
    shown = axes[0, 0].set_title(name)
    figure.canvas.draw()
    assert shown.get_text() == name and not shown.get_parse_math()


def test_numbers_on_a_logarithmic_axis_are_no_formulas():
    figure, axes = figures.new_figure(1, 1, 2, 2)
    axes[0, 0].plot([1, 0.1, 0.01, 0.001])
    charts.log_scale(axes[0, 0])
    figure.canvas.draw()
    labels = [label.get_text() for label in axes[0, 0].get_yticklabels()]
    assert "1e\N{MINUS SIGN}02" in labels and not any("$" in label for label in labels)


def test_colours_can_be_told_apart_without_colour():
    lightness = sorted(
        np.dot(ImageColor.getrgb(colour), [0.2126, 0.7152, 0.0722])
        for colour in (TRUTH, PREDICTION, SECOND)
    )
    assert min(np.diff(lightness)) > 20


def test_what_agrees_lies_on_the_line(tmp_path):
    path = charts.agreement_picture(
        tmp_path / "a.png", [30, 80], {"a": [30, 80], "b": [80, 30]}, STYLES, "volume, ml", False
    )
    # Not the legend, which stands below.
    picture = opened(path)
    picture = picture[: picture.shape[0] * 4 // 5]
    red, green = (coloured(picture, colour) for colour in (PREDICTION, SECOND))
    line = coloured(picture, TRUTH)
    half = picture.shape[1] // 2
    x0, y0, x1, y1 = box_of(line[:, half:])
    slope = (y1 - y0) / (x1 - x0)
    assert slope == pytest.approx(1, abs=0.03)
    right = box_of(red[:, half:])
    middle = (right[0] + right[2]) / 2, (right[1] + right[3]) / 2
    assert y1 - (middle[0] - x0) * slope == pytest.approx(middle[1], abs=3)
    assert green[picture.shape[0] // 2 :, half:].any()


def test_every_network_is_drawn_in_its_own_colour_and_none_is_left_out(tmp_path):
    styles = ((PREDICTION, "o"), (SECOND, "s"), ("#8e44ad", "^"))
    networks = {"a": [0.2, 0.9], "b": [0.4, 0.7], "c": [0.6, 0.5]}
    for path in (
        charts.cases_picture(tmp_path / "a.png", networks, styles, [0.1, 0.1], "Dice", False),
        charts.agreement_picture(tmp_path / "b.png", [0.5, 0.5], networks, styles, "ml", False),
    ):
        picture = opened(path)
        # Not the legend, which stands below.
        inside = picture[: picture.shape[0] * 4 // 5]
        assert all(coloured(inside, colour).sum() > 20 for colour, _ in styles)
    with pytest.raises(ValueError, match="zip"):
        charts.cases_picture(tmp_path / "c.png", networks, STYLES, [0.1, 0.1], "Dice", False)


def test_a_film_is_shown_as_it_is(tmp_path):
    film = np.zeros((90, 90))
    film[:30, :30], film[60:, 60:] = 255, 128
    path = figures.film_sheet(tmp_path / "a.png", [film], [np.zeros((0, 4))], ["a"], False, 1)
    picture = opened(path)
    grey = np.abs(picture - 128).max(-1) < 3
    x0, y0, _, _ = film_box(np.where(grey[..., None], 0, picture))
    x1 = box_of(grey)[2]
    third = (x1 - x0) / 3
    assert abs(box_of(grey)[0] - (x1 - third)) <= 2
    assert (picture[int(y0 + third / 2), int(x0 + third / 2)] == 255).all()
    assert (picture[int(y0 + third * 1.5), int(x0 + third * 1.5)] == 0).all()


def test_a_sheet_has_a_box_a_film(tmp_path):
    films = [np.zeros((40, 40))] * 5
    boxes = [np.array([[10, 10, 30, 30]])] * 4 + [np.zeros((0, 4))]
    path = figures.film_sheet(tmp_path / "a.png", films, boxes, list("abcde"), False)
    picture = opened(path)
    assert picture.shape[1] == pytest.approx(4 * 2.2 * 120, abs=2)
    assert picture.shape[0] == pytest.approx(2 * 2.4 * 120, abs=2)
    half = picture.shape[0] // 2
    assert coloured(picture[:half], TRUTH).sum() > 400
    assert coloured(picture[half:], TRUTH).sum() == 0


def test_a_sheet_as_pixels_with_more_drawn_on_each_film():
    def red(axes, number):
        figures.draw_box(axes, (5 + 5 * number, 5, 35, 35), PREDICTION)

    figure = figures.sheet(
        [np.zeros((40, 40))] * 2, [[(10, 10, 30, 30)], []], ["a", "b"], 2, red, {"told": "#00ff00"}
    )
    picture = figures.pixels(figure, synthetic=False)
    assert picture.shape == (240, 440, 3) and picture.dtype == np.uint8
    left, right = picture[:, :220].astype(int), picture[:, 220:].astype(int)
    assert coloured(left, TRUTH).any() and not coloured(right, TRUTH).any()
    widths = [np.diff(box_of(coloured(half, PREDICTION))[::2]) for half in (left, right)]
    assert widths[1] / widths[0] == pytest.approx(25 / 30, rel=0.03)
    assert coloured(picture, "#00ff00").any() and not coloured(picture[:200], "#00ff00").any()
    assert (figures.pixels(figure, synthetic=True)[MARGIN:] == picture).all()


def test_a_map_is_shown_where_it_is_hot_and_with_the_box_on_both(tmp_path):
    heat = np.zeros((16, 16))
    heat[2:5, 10:13] = 1
    boxes = np.array([[0.1, 0.6, 0.4, 0.9]])
    path = figures.gradcam_picture(
        tmp_path / "a.png", np.zeros((64, 64)), {"a": heat}, boxes, "t", False
    )
    picture = opened(path)
    half = picture.shape[1] // 2
    for side in (picture[:, :half], picture[:, half:]):
        assert coloured(side, TRUTH).sum() > 100
    warm = (picture[..., 0] > 100) & (picture[..., 2] < 100) & (picture[..., 0] < 255)
    film = warm.copy()
    # The colour bar stands to the right of the film.
    film[:, int(picture.shape[1] * 0.86) :] = False
    x0, y0, x1, y1 = box_of(film)
    assert x0 > half and y1 < picture.shape[0] / 2
    assert 20 < x1 - x0 < 150 and 20 < y1 - y0 < 150


def test_a_map_without_boxes(tmp_path):
    heat = np.zeros((64, 64))
    path = figures.gradcam_picture(
        tmp_path / "a.png", soft_image(64, 64), {"a": heat, "b": heat}, np.zeros((0, 4)), "t", False
    )
    assert coloured(opened(path), TRUTH).sum() == 0


def labels_and_scores():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    return labels, np.clip(labels * 0.3 + rng.uniform(0, 0.7, 80), 0, 1)


def curves():
    labels, scores = labels_and_scores()
    parts = {"model": scores, "temperature scaled": scores**2}
    # Of the first patients there are too few for an interval.
    patients = np.maximum(np.arange(80), 10)
    return {name: (part, reliability(labels, part, patients)) for name, part in parts.items()}


EPOCHS = [
    {"epoch": 1, "seconds": 2.0, "learning_rate": 1e-3, "dice": 0.1, "loss": 2.0, "val_dice": 0.1,
     "val_loss": 3.0},
    {"epoch": 2, "seconds": 2.0, "learning_rate": 1e-4, "dice": 0.5, "loss": 1.0, "val_dice": 0.4,
     "val_loss": 2.0},
]  # fmt: skip

PICTURES = {
    "box": lambda path, s: figures.box_picture(path, BLACK, [1, 2, 9, 9], [2, 3, 9, 9], "t", s),
    "gradcam": lambda path, s: figures.gradcam_picture(
        path, BLACK[:60], {"map": BLACK[:60]}, np.zeros((0, 4)), "t", s
    ),
    "sheet": lambda path, s: figures.film_sheet(path, [BLACK], [np.zeros((0, 4))], ["t"], s),
    "confusion": lambda path, s: charts.confusion_picture(path, [[5, 1], [0, 0]], ["a", "b"], s),
    "curves": lambda path, s: charts.curves_picture(path, labels_and_scores()[0], curves(), 0.4, s),
    "histogram": lambda path, s: charts.histogram_picture(
        path, np.array([0.1, 0.5]), np.array([0.2, 0.3]), "IoU", s
    ),
    "history": lambda path, s: charts.history_picture(path, {"a": EPOCHS, "b": EPOCHS[:1]}, s),
    "cases": lambda path, s: charts.cases_picture(
        path, {"a": [0.9, 0.5], "b": [0.8, 0.6]}, STYLES, [0.3, 0.2], "Dice", s
    ),
    "agreement": lambda path, s: charts.agreement_picture(
        path, [20, 40], {"a": [21, 38], "b": [30, 50]}, STYLES, "volume, ml", s
    ),
}


@pytest.mark.parametrize("mark", [True, "MODEL OF SYNTHETIC DATA"])
@pytest.mark.parametrize("kind", PICTURES)
def test_what_was_made_up_is_marked_in_a_margin_and_the_picture_stays_as_it_is(
    tmp_path, kind, mark
):
    plain, marked = (
        opened(PICTURES[kind](tmp_path / f"{bool(synthetic)}.png", synthetic))
        for synthetic in (False, mark)
    )
    width = plain.shape[1]
    assert (marked[MARGIN:, :width] == plain).all() and (marked[MARGIN:, width:] == 255).all()
    # Dark words on the mark's own colour, from edge to edge.
    margin = marked[:MARGIN]
    assert coloured(margin, MARK).mean() > 0.5 and coloured(margin, MARK)[:, -1].all()
    assert (margin.max(-1) < 80).sum() > 5 * len(str(mark))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["False.png", "True.png"]


def test_a_narrow_picture_gets_room_for_its_mark():
    marked = with_mark(np.zeros((5, 9, 3), np.uint8), "MODEL OF SYNTHETIC DATA").astype(int)
    x0, _, x1, _ = box_of(marked[:MARGIN].max(-1) < 80)
    assert x0 > 0 and 100 < x1 < marked.shape[1]


def test_two_histograms_stand_beside_each_other_on_one_scale(tmp_path):
    model, baseline = np.full(8, 0.72), np.concatenate([np.full(4, 0.32), np.full(2, 0.72)])
    path = charts.histogram_picture(tmp_path / "a.png", model, baseline, "IoU", False)
    picture = opened(path)
    red, grey = (
        np.abs(picture - ImageColor.getrgb(colour)).max(-1) < 5
        for colour in (PREDICTION, figures.GREY)
    )
    # Within the axes, right of the legend: the bins of 0.3 and 0.7.
    at = np.arange(picture.shape[1]) / picture.shape[1]
    inside = np.arange(picture.shape[0])[:, None] < picture.shape[0] * 0.85
    tall, short = box_of(red & (at > 0.6)), box_of(grey & inside & (at > 0.6))
    left = box_of(grey & inside & (at > 0.37) & (at < 0.6))
    heights = [box[3] - box[1] for box in (tall, left, short)]
    assert heights[0] / heights[1] == pytest.approx(2, rel=0.03)
    assert heights[0] / heights[2] == pytest.approx(4, rel=0.05)
    assert 0 <= short[0] - tall[2] <= 3


def test_a_confusion_matrix_is_as_dark_as_its_shares(tmp_path):
    picture = opened(
        charts.confusion_picture(tmp_path / "a.png", [[9, 1], [5, 5]], ["no", "yes"], False)
    )
    blues = (picture[..., 2] - picture[..., 0] > 5) & (picture[..., 2] > 80)
    # Text is thin: the matrix is blue over a good part of the picture.
    rows, columns = blues.mean(1) > 0.2, blues.mean(0) > 0.2
    x0, y0, x1, y1 = box_of(rows[:, None] & columns[None, :]).astype(int)
    quarter = (x1 - x0) // 8, (y1 - y0) // 8
    # Near the corners, where no number stands.
    blue = {
        (row, column): picture[
            y0 + quarter[1] + row * (y1 - y0) // 2, x0 + quarter[0] + column * (x1 - x0) // 2, 0
        ]
        for row in (0, 1)
        for column in (0, 1)
    }
    assert blue[0, 0] < blue[1, 0] == blue[1, 1] < blue[0, 1]
