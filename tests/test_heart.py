"""Test-time averaging of the heart project, with a network that sees what it is shown."""

import json
import re
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heart_detection.config import AveragingSettings, EvaluateSettings
from heart_detection.inference import predict_boxes, predict_cases
from tests.helpers.drawing import rectangle, seen_box
from tests.helpers.scripts import copy_run, run

SIDE = 64


class Seeing:
    """Gives the box of what is white, and what it was told to add to it."""

    def __init__(self, off=(0, 0, 0, 0)):
        self.off = np.array(off, float)

    def predict(self, images, batch_size, verbose):
        return np.stack([seen_box(image[..., 0]) / SIDE for image in images]) + self.off


def images(*boxes):
    return np.stack([rectangle(SIDE, box) for box in boxes])[..., None]


def looks(test_time_augmentation=False, flip=False, second_look=False):
    return AveragingSettings(
        test_time_augmentation=test_time_augmentation, flip=flip, second_look=second_look
    )


edges = st.tuples(st.integers(0, 40), st.integers(2, 20)).map(lambda pair: (pair[0], sum(pair)))


@given(edges, edges)
def test_the_mirrored_films_box_is_mirrored_back(across, down):
    box = np.array([across[0], down[0], across[1], down[1]])
    for flip in (False, True):
        found = predict_boxes(Seeing(), images(box, [1, 2, 9, 30]), 8, looks(flip=flip))
        np.testing.assert_allclose(found * SIDE, [box, [1, 2, 9, 30]])


def test_what_is_off_to_one_side_averages_out_and_what_is_off_in_height_does_not():
    shown = images([8, 16, 24, 48])
    left = Seeing([-0.125, 0.25, -0.125, 0.25])
    once = predict_boxes(left, shown, 8, looks()) * SIDE
    np.testing.assert_allclose(once, [[0, 32, 16, 64]])
    twice = predict_boxes(left, shown, 8, looks(flip=True)) * SIDE
    np.testing.assert_allclose(twice, [[8, 32, 24, 64]])


def test_an_uneven_size_is_averaged():
    wide = Seeing([0, 0, 0.25, 0])
    found = predict_boxes(wide, images([8, 16, 24, 48]), 8, looks(flip=True)) * SIDE
    # 16 too far to the right in one, and to the left in the other.
    assert found[0] == pytest.approx([0, 16, 32, 48])


def test_a_moved_films_box_is_moved_back():
    box = np.array([12, 16, 40, 52])
    for flip in (False, True):
        found = predict_boxes(Seeing(), images(box), 8, looks(True, flip)) * SIDE
        assert np.abs(found[0] - box).max() < 1


@given(edges, edges)
def test_a_closer_looks_box_is_moved_back(across, down):
    box = np.array([across[0], down[0], across[1], down[1]]) + 2
    found = predict_boxes(Seeing(), images(box), 8, looks(second_look=True)) * SIDE
    assert np.abs(found[0] - box).max() < 1


def test_a_closer_look_has_the_heart_in_the_middle_larger_and_all_within_the_film():
    shown = []

    class Watching(Seeing):
        def predict(self, images, batch_size, verbose):
            shown.extend(images[..., 0])
            return super().predict(images, batch_size, verbose)

    # A film of grey, so that what lies outside it, black, would be seen.
    films = np.maximum(images([28, 24, 44, 40], [0, 0, 16, 16]), 64)
    predict_boxes(Watching(), films, 8, looks(second_look=True))
    first, _, second, corner = shown[:4]
    assert seen_box(first) == pytest.approx([28, 24, 44, 40])
    assert seen_box(second) == pytest.approx([22.4, 22.4, 41.6, 41.6], abs=1)
    assert seen_box(corner) == pytest.approx([0, 0, 19.2, 19.2], abs=1)
    assert min(look[1:-1, 1:-1].min() for look in shown) == pytest.approx(64, abs=1)


def test_an_error_that_stays_with_the_frame_averages_out_over_zooms():
    # Always a box of the whole film: moved back it lies around the film, evenly on both sides.
    class Whole:
        def predict(self, images, batch_size, verbose):
            return np.tile([0.0, 0.0, 1.0, 1.0], (len(images), 1))

    found = predict_boxes(Whole(), images([12, 16, 40, 52]), 8, looks(True))[0]
    np.testing.assert_allclose(found[:2] + found[2:], 1, atol=1e-6)


def test_an_evaluation_holds_a_batch_of_films_and_small_numbers_of_the_others():
    held, most = [], 0

    class Films:
        def batch(self, size):
            return self

        def as_numpy_iterator(self):
            nonlocal most
            for number in range(9):
                batch = {"image": images(*[[8, 16, 24, 48]] * 4)}
                batch["case"] = [f"{number}-{place}".encode() for place in range(4)]
                held.append(weakref.ref(batch["image"]))
                most = max(most, sum(film() is not None for film in held))
                yield batch

    settings = EvaluateSettings(batch_size=4, flip=True, second_look=True)
    columns = predict_cases(Seeing(), Films(), settings)
    # The one that is made while the last is still at hand.
    assert len(columns["case"]) == 36 and most <= 2
    assert not any(film() is not None for film in held[:-1])
    kept = sum(owner(columns[name]).nbytes for name in ("box", "thumbnail"))
    assert kept <= 36 * (4 + 16 * 16) * 8


def owner(array):
    """The array that holds the memory of another."""
    return array if array.base is None else owner(array.base)


def test_the_thumbnail_baseline_is_scikit_learns_ridge_of_the_training_split(whole):
    import cv2
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from common.records.prepared import open_prepared
    from common.scores.boxes import iou
    from heart_detection.dataset import images_and_boxes

    once = whole("heart_detection")
    prepared = open_prepared(once.prepared, "heart_detection")
    pixels, boxes = {}, {}
    for split in ("train", "test"):
        records = list(images_and_boxes(prepared, [split], 32).as_numpy_iterator())
        films = [record["image"][..., 0].astype(np.float32) for record in records]
        squares = [cv2.resize(film, (16, 16), interpolation=cv2.INTER_AREA) for film in films]
        pixels[split] = np.reshape(squares, (-1, 256))
        boxes[split] = np.stack([record["box"] for record in records])
    model = make_pipeline(StandardScaler(), Ridge(100)).fit(pixels["train"], boxes["train"])
    # The sample's films are squares: fractions have the IoU of pixels.
    expected = iou(boxes["test"], model.predict(pixels["test"]))
    found = once.metrics["baselines"]["thumbnail"]
    assert found["iou"]["mean"] == pytest.approx(expected.mean(), abs=1e-3)
    gaps = [float(row["iou"]) for row in once.predictions] - expected
    assert found["differences"]["iou"]["value"] == pytest.approx(gaps.mean(), abs=1e-3)

    low, high = found["iou"]["ci95"]
    cell = f"{found['iou']['mean']:.3f} [{low:.3f}, {high:.3f}]"
    assert cell in once.said["evaluate"] and "16 x 16 thumbnail" in once.said["evaluate"]
    main = once.metrics["main_scores"][0]
    means = [part["iou"]["mean"] for part in once.metrics["baselines"].values()]
    assert main["baseline"] == max(means)
    assert main["difference"]["value"] == pytest.approx(main["value"] - max(means))


@pytest.mark.parametrize(("known", "unit"), [(3, "px"), (None, "mm")])
def test_the_page_speaks_of_mm_where_all_films_have_a_spacing(whole, tmp_path, known, unit):
    once = whole("heart_detection")
    folder = copy_run(once.run, tmp_path / "run") / "evaluation" / "test"
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["edge_error_mm"] = metrics["edge_error_px"] | {"n": known or metrics["n"]}
    metrics["edge_bias_mm"] = metrics["edge_bias_px"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    run("heart_detection", "report", folder)
    page = (folder / "report.html").read_text()
    assert re.search(rf"An edge of the box is off by [\d.]+ {unit} on average", page)
