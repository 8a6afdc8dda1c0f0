"""Patches of volumes: where they lie, how they are put together again, and a network of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_segmentation import patches
from atrium_segmentation.config import EvaluateSettings, TrainSettings
from tests.helpers.scripts import ROOT, TINY, run

PROJECT = "atrium_segmentation"
sizes = st.tuples(*[st.integers(1, 12)] * 3)


@given(shape=sizes, size=sizes, start=st.tuples(*[st.integers(-15, 15)] * 3))
def test_a_patch_is_what_padding_and_cutting_give(shape, size, start):
    volume = np.random.default_rng(0).integers(1, 9, shape)
    padded = np.pad(volume, 30)
    there = tuple(
        slice(30 + first, 30 + first + length) for first, length in zip(start, size, strict=True)
    )
    assert np.array_equal(patches.patch(volume, start, size), padded[there])


@given(shape=st.tuples(*[st.integers(1, 300)] * 3), depth=st.integers(1, 6), side=st.integers(1, 4))
def test_windows_cover_a_volume_and_overlap_by_half(shape, depth, side):
    size = patches.window_size(shape, (16 * depth, 32 * side, 32 * side))
    assert size[0] % 16 == size[1] % 32 == size[2] % 32 == 0
    starts = np.array(patches.windows(shape, size))
    for axis, (there, length) in enumerate(zip(shape, size, strict=True)):
        places = np.unique(starts[:, axis])
        assert (np.diff(places) <= length / 2 + 1).all()
        if there <= length:
            assert len(places) == 1 and places[0] <= 0 and places[0] + length >= there
        else:
            assert places[0] == 0 and places[-1] + length == there
    assert len(starts) == np.prod([len(np.unique(column)) for column in starts.T])


def test_a_window_counts_least_at_its_edges_and_never_nothing():
    weights = patches.gaussian((16, 32, 64))
    assert weights.shape == (16, 32, 64) and weights.max() <= 1 and weights.min() == 1e-3
    # One standard deviation from the middle, an eighth of the side.
    along = patches.gaussian((1, 1, 801))[0, 0]
    assert along[400] == 1 and along[500] == pytest.approx(np.exp(-0.5), rel=0.01)
    for axis in range(3):
        assert np.array_equal(weights, np.flip(weights, axis))


def teller():
    """A network of volumes that says how bright a voxel is, and how dark."""
    import keras

    seen = keras.Input((None, None, None, 1))
    bright = keras.layers.Rescaling(1 / 255)(seen)
    dark = keras.layers.Rescaling(-1, 1)(bright)
    return keras.Model(seen, keras.layers.Concatenate()([bright, dark]))


@pytest.mark.parametrize("shape", [(5, 37, 40), (40, 70, 100)])
@pytest.mark.parametrize("flip", [False, True])
def test_what_is_said_in_windows_comes_back_to_its_voxels(shape, flip):
    from atrium_segmentation.inference import predict_working

    working = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    settings = EvaluateSettings(flip=flip)
    [said] = predict_working(teller(), working, {"patch": [16, 32, 32]}, settings)
    np.testing.assert_allclose(said[..., 0], working / 255, atol=1e-6)
    np.testing.assert_allclose(said[..., 1], 1 - working / 255, atol=1e-6)


@pytest.mark.slow
def test_a_volume_is_predicted_some_slices_at_a_time(monkeypatch):
    import keras

    from atrium_segmentation import inference

    working = np.random.default_rng(0).integers(0, 256, (11, 37, 40), np.uint8)
    given = keras.Input((None, None, 3))
    mean = keras.Model(given, keras.ops.mean(given, axis=-1, keepdims=True) / 255)
    settings, sizes = EvaluateSettings(flip=True, test_time_augmentation=True), []
    whole = inference.predict_plane(mean, working, "sagittal", 1, settings)
    predict = mean.predict
    monkeypatch.setattr(
        mean, "predict", lambda images, *rest, **more: sizes.append(len(images))
        or predict(images, *rest, **more),
    )  # fmt: skip
    monkeypatch.setattr(inference, "_SLICES", 4)
    parts = inference.predict_plane(mean, working, "sagittal", 1, settings)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert max(sizes) == 4 and whole.shape == (*working.shape, 1)


@pytest.mark.slow
def test_what_is_said_of_moved_windows_comes_back_to_its_voxels():
    from scipy.ndimage import gaussian_filter

    from atrium_segmentation.inference import predict_working

    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(20, 60, 150)), 6)
    working = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    settings = EvaluateSettings(test_time_augmentation=True)
    [said] = predict_working(teller(), working, {"patch": [16, 32, 32]}, settings)
    # Where a turn brings in what lies outside, the mean is darker.
    inside = (slice(None), slice(12, -12), slice(12, -12))
    np.testing.assert_allclose(said[..., 0][inside], working[inside] / 255, atol=0.03)


@given(data=st.data())
def test_a_random_patch_holds_a_part_of_the_structure_and_wastes_nothing(data):
    shape = data.draw(st.tuples(*[st.integers(2, 20)] * 3))
    size = data.draw(st.tuples(*[st.integers(1, 20)] * 3))
    mask = np.zeros(shape, np.uint8)
    # One voxel, or two that may be far apart.
    for _ in range(data.draw(st.integers(1, 2))):
        mask[tuple(data.draw(st.integers(0, length - 1)) for length in shape)] = 1
    start = patches._start(mask, size, np.random.default_rng(data.draw(st.integers(0, 99))))
    assert patches.patch(mask, start, size).any()
    for first, there, length in zip(start, shape, size, strict=True):
        # All of the volume along an axis where it fits, and nothing else where it does not.
        assert min(there - length, 0) <= first <= max(there - length, 0)
    nowhere = patches._start(np.zeros(shape, np.uint8), size, np.random.default_rng(0))
    assert len(nowhere) == 3


@pytest.fixture(scope="module")
def volumes(whole):
    from atrium_segmentation.dataset import Volumes
    from common.records.prepared import open_prepared

    return Volumes(open_prepared(whole(PROJECT).prepared, PROJECT), ["train"])


def settings(**given):
    still = dict.fromkeys(("contrast", "gamma", "noise", "rotation_degrees", "scale", "shift"), 0.0)
    options = {"preset": "demo", "patches": 2, "seed": 5, "image_size": 32, "patch_slices": 4}
    return TrainSettings(**{**still, **options, "patch_pixels": 32, "unet_depth": 2, **given})


def place_of(part: np.ndarray, volume: np.ndarray) -> list[tuple[int, ...]]:
    """Where a patch lies in a volume, by its grey values, if it lies within."""
    windows = np.lib.stride_tricks.sliding_window_view(volume, part.shape)
    return [*zip(*np.nonzero((windows == part).all((3, 4, 5))), strict=True)]


@pytest.mark.parametrize("where", ["host", "device"])
def test_every_patch_is_a_part_of_its_volume_and_so_is_its_mask(volumes, where):
    given = settings(augment=where, patch_pixels=0)
    size = (4, 8, 8)
    assert patches.count(volumes, given) == 2 * len(volumes)
    training = patches.training_data(volumes, size, 3, given, 2)
    assert training.steps == -(-2 * len(volumes) // 3)
    places = set()
    for step, batch in enumerate(training.batches().take(training.steps)):
        images, masks = training.inputs(batch)
        assert images.shape == (3, *size, 1) and len(masks) == 2
        assert np.array_equal(masks[0], masks[1])
        for row, number in enumerate(training.numbers(0)[step]):
            volume = volumes[number // 2]
            part = np.round(images[row, ..., 0].numpy()).astype(np.uint8)
            [place] = place_of(part, volume["image"])
            cut = patches.patch(volume["mask"], place, size)
            assert np.array_equal(masks[0][row, ..., 0], cut) and cut.any()
            places.add((number, place))
    # The two patches of a volume lie at two places.
    assert len({(number // 2, place) for number, place in places}) > len(volumes)


def test_validation_is_on_the_same_patches_each_time(volumes):
    given = settings()
    size = patches.patch_size(volumes, 32, given)
    assert size == (4, 32, 32)
    one, again = (
        [*patches.validation_data(volumes, size, 4, given, 1).as_numpy_iterator()] for _ in range(2)
    )
    for batch, same in zip(one, again, strict=True):
        for values, others in zip(batch, same, strict=True):
            np.testing.assert_array_equal(values, others)
    masks = np.concatenate([masks for _, masks, _ in one])
    assert masks[: patches.count(volumes, given)].any((1, 2, 3, 4)).all()


def test_all_slices_of_a_patch_are_augmented_alike(volumes):
    given = settings(rotation_degrees=25.0, shift=0.05, seed=3)
    training = patches.training_data(volumes, (4, 32, 32), 2, given, 1)
    images, masks = next(training.batches().as_numpy_iterator())
    assert set(np.unique(masks)) == {0, 1}
    inside = masks.astype(bool)
    assert images[inside].mean() > images[~inside].mean()


@pytest.mark.parametrize(
    "flat_levels, slices, expected", [(0, 0, 12), (0, 4, 4), (0, 5, 8), (1, 5, 6), (2, 5, 5)]
)
def test_a_patch_is_as_deep_as_the_network_can_halve(volumes, flat_levels, slices, expected):
    deepest = max(depth for depth, _, _ in volumes.shapes)
    given = settings(flat_levels=flat_levels, patch_slices=slices, patch_pixels=64)
    depth, *sides = patches.patch_size(volumes, 32, given)
    assert sides == [32, 32]
    assert depth == (expected if slices else -(-deepest // 4) * 4)


@pytest.mark.parametrize(
    "spacing, levels",
    [((1, 1, 1), 0), ((1, 1, 1.5), 0), ((1, 1, 2), 1), ((0.6, 0.6, 5), 3), ((3, 3, 0), 1)],
)
def test_levels_are_flat_where_slices_are_far_apart(whole, spacing, levels):
    from atrium_segmentation.adapting import changes
    from common.records.prepared import open_prepared

    prepared = open_prepared(whole(PROJECT).prepared, PROJECT)
    manifest = json.loads(json.dumps(prepared.manifest))
    manifest["settings"]["spacing_mm"] = spacing
    prepared = dataclasses.replace(prepared, manifest=manifest)
    given = TrainSettings(models=("unet3d",))
    changed = {change.name: change.value for change in changes(prepared, ["train"], given)}
    assert changed == ({"flat_levels": levels} if levels else {})
    of_slices = dataclasses.replace(given, models=("unet",))
    assert changes(prepared, ["train"], of_slices) == []


@pytest.mark.slow
def test_a_network_of_volumes_goes_through_every_script(whole, tmp_path):
    once = whole(PROJECT)
    folder = tmp_path / "run"
    run(PROJECT, "train", *TINY[PROJECT], "--prepared", once.prepared, "--run", folder,
        "--models", "unet3d", "unet", "--epochs", 8, "--patches", 4)  # fmt: skip
    fitted = json.loads((folder / "fitted.json").read_text())
    assert fitted["models"].keys() == {"unet", "unet3d"} and len(fitted["patch"]) == 3
    printed = run(PROJECT, "evaluate", "--run", folder)
    assert "3-D U-Net" in printed
    metrics = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text())
    said, shape = metrics["models"]["unet3d"], metrics["baselines"]["mean_shape"]
    assert said["dice"]["mean"] > shape["dice"] - 0.1
    volume = next((once.sample / "imagesTr").glob("*.nii.gz"))
    run(PROJECT, "predict", volume, "--run", folder, "--output", tmp_path / "said")
    [mask] = (tmp_path / "said").rglob("*.nii.gz")
    assert nibabel.load(mask).get_fdata().any()
    command = [sys.executable, "-m", "common.export", str(folder), "--format", "onnx", "litert"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stdout.count(f"(3 images of {once.prepared})") == 2
    assert done.stdout.count(f"(1 images of {once.prepared})") == 1
    assert "LiteRT has no pooling of volumes; give --format onnx" in done.stderr
