"""Augmentation on the device: the host's formulas, drawn for each sample by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from common.base.errors import UserError
from common.base.files import ROOT
from common.training import augment, on_device, pipeline
from common.training.augment import Ranges
from common.training.on_device import DEVICE, HOST
from pneumonia_classification.config import TrainSettings
from tests.helpers import needs
from tests.helpers.drawing import ellipse, rectangle, seen_box
from tests.helpers.fixtures import soft_image
from tests.helpers.scripts import PROJECTS, run
from tests.training.test_augment import ALL, BATCH, SEEDS, SIDE, batch_of, boxes_of, draw, few

EVERYTHING = Ranges(25, 0.2, 0.2, 0.08, 0.2, 0.3, 0.3, 0.05, True, 0.03, 0.3)
"""All that a device can, but for the blur."""

OF_255 = 0.1
"""How far a grey value of 0 to 255 may be from the host's: by rounding of places in float32."""

PARTS = st.lists(
    st.sampled_from(["rotation_degrees", "scale", "stretch", "shift", "flip", "elastic"])
).map(lambda names: Ranges(**{name: getattr(EVERYTHING, name) for name in names}))


def images_of_both(images, draws, **how):
    """What the host and the device make of images: geometry alone."""
    return (
        ops.convert_to_numpy(kernels.transform_images(images, draws, **how))
        for kernels in (HOST, DEVICE)
    )


def films(count=BATCH, channels=1):
    """Images (count, SIDE, SIDE, channels) uint8, each another."""
    planes = [np.roll(soft_image(SIDE, SIDE), 7 * n, 1) for n in range(count * channels)]
    return np.stack(planes, -1).reshape(SIDE, SIDE, count, channels).transpose(2, 0, 1, 3)


# ---- The host's formulas


@few
@given(SEEDS, PARTS)
def test_geometry_is_the_hosts(seed, ranges):
    host, device = images_of_both(films().astype(np.uint8), draw(ranges, seed))
    assert device.dtype == np.float32 and np.ptp(host) > 100
    np.testing.assert_allclose(device, host, atol=OF_255)


@pytest.mark.slow
@few
@given(SEEDS)
def test_grey_values_are_the_hosts(seed):
    images, draws = films(channels=3).astype(np.float32), draw(EVERYTHING, seed)
    host, device = (
        ops.convert_to_numpy(kernels.change_intensities(tf.constant(images), draws))
        for kernels in (HOST, DEVICE)
    )
    assert np.abs(host - images).mean() > 1
    np.testing.assert_allclose(device, host, atol=OF_255)


@few
@given(SEEDS)
def test_a_blur_is_the_hosts_but_for_its_ends(seed):
    images, draws = tf.constant(films(), tf.float32), draw(Ranges(blur=0.03), seed)
    host, device = (
        ops.convert_to_numpy(kernels.change_intensities(images, draws))
        for kernels in (HOST, DEVICE)
    )
    assert np.abs(host - images).max() > 1
    # The host cuts a kernel at three deviations of the widest, beyond which 0.3 % of it lies.
    np.testing.assert_allclose(device, host, atol=1.0)


@few
@given(SEEDS, PARTS)
def test_a_mask_is_the_hosts_and_keeps_its_labels(seed, ranges):
    mask = (rectangle(SIDE, [30, 36, 66, 60]) > 0) * 3 + (ellipse(SIDE, [0.4, 0.4, 0.5, 0.5]) > 0)
    masks = np.repeat(mask.astype(np.uint8)[None, ..., None], BATCH, 0)
    host, device = images_of_both(masks, draw(ranges, seed), nearest=True)
    assert set(np.unique(device)) <= set(np.unique(masks))
    # Half a pixel is rounded either way.
    assert (device != host).mean() < 0.001


@few
@given(SEEDS)
def test_an_ellipse_is_seen_in_the_box_that_the_host_moved(seed):
    box = np.array([0.3, 0.38, 0.68, 0.6])
    draws = draw(ALL, seed)
    draws = augment.keep_inside(draws, boxes_of(box))
    moved = DEVICE.transform_images(batch_of(ellipse(SIDE, box)), draws)
    expected = augment.transform_boxes(boxes_of(box), draws).numpy() * SIDE
    for image, of_image in zip(ops.convert_to_numpy(moved)[..., 0], expected, strict=True):
        assert np.abs(seen_box(image) - of_image).max() <= 1.5
        assert of_image.min() >= -0.01 and of_image.max() <= SIDE + 0.01


@few
@given(SEEDS, st.sampled_from([32, 96, 100]))
def test_the_share_of_a_box_in_every_place_is_the_hosts(seed, size):
    masks = np.random.default_rng(seed).integers(0, 2, (2, size, size, 1)).astype(np.uint8) * 255
    host, device = (
        ops.convert_to_numpy(kernels.shares(masks, -(-size // 32))) for kernels in (HOST, DEVICE)
    )
    np.testing.assert_allclose(device, host, atol=1e-5)


def test_it_is_float32_under_mixed_precision():
    import keras

    draws = draw(EVERYTHING)
    expected = DEVICE.change_intensities(DEVICE.transform_images(films(), draws), draws)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        images = DEVICE.change_intensities(DEVICE.transform_images(films(), draws), draws)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(images, expected)


# ---- What is drawn


def drawn(batch_size, epoch=0, step=0, seed=5, count=150):
    """The draws of the rest of an epoch by sample, in its order."""
    samples = pipeline.in_memory({"number": np.arange(count)})
    settings = TrainSettings(augment="device", epochs=epoch + 1, seed=seed)

    def of_batch(batch, draws):
        return {**batch, **draws}

    training = pipeline.augmented_training(
        samples, batch_size, settings, EVERYTHING, of_batch, dict
    )
    batches = [*training.batches(epoch, step).as_numpy_iterator()]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_draws_are_the_same_whatever_the_batch_and_after_a_resume():
    whole = drawn(1)
    for batch_size, step in (7, 0), (64, 0), (100, 0), (10, 4), (50, 1):
        rest = drawn(batch_size, step=step)
        for name, values in rest.items():
            values = values[: 150 - step * batch_size]
            expected = whole[name][step * batch_size :]
            # A sine is rounded otherwise at the end of a batch than within it.
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_no_two_samples_epochs_or_seeds_draw_alike():
    all_drawn = [drawn(16, epoch, seed=seed) for epoch in (0, 1) for seed in (5, 6)]
    for name in ("shift", "elastic", "bias", "contrast"):
        values = np.concatenate([one[name][:150].reshape(150, -1) for one in all_drawn])
        assert len(np.unique(values, axis=0)) == 600, name
    starts = np.concatenate([one["noise_start"] for one in all_drawn])
    assert len(np.unique(starts)) > 590 and starts.max() < augment.NOISE_STARTS


def test_what_is_drawn_has_the_hosts_ranges():
    values = drawn(64, count=6400)
    host = draw(EVERYTHING, batch=6400)
    for name, expected in host.items():
        for of in (np.mean, np.std, np.min, np.max):
            scale = np.std(expected) + 1e-9
            # The ends of a Gaussian are few.
            near = 0.5 if of in (np.min, np.max) else 0.06
            assert abs(of(values[name]) - of(expected)) <= near * scale, (name, of)


# ---- In the step of a training


def trained(backend, folder):
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.augmented_run", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads(done.stdout.split("LOSSES")[1])


@pytest.mark.slow
def test_a_training_is_the_same_on_the_host_the_device_by_xla_and_on_two_devices(tmp_path):
    losses = trained("tensorflow", tmp_path)
    assert list(losses) == ["host", "device", "xla", "two devices"]
    assert np.ptp(losses["host"]) > 0.005
    for name, values in losses.items():
        np.testing.assert_allclose(values, losses["host"], atol=1e-4, err_msg=name)
    needs.package("jax")
    on_jax = trained("jax", tmp_path)
    np.testing.assert_allclose(on_jax["device"], losses["host"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_a_script_augments_on_the_device_and_its_config_says_so(whole, project, tmp_path):
    once = whole(project)
    folder = tmp_path / "run"
    run(project, "train", *once.training(1), "--augment", "device", "--run", folder)
    assert json.loads((folder / "config.json").read_text())["settings"]["augment"] == "device"
    [history, *_] = sorted(folder.rglob("history.csv"))
    assert len(history.read_text().splitlines()) == 2
    message = run(project, "train", *once.training(2), "--run", folder, code=2)
    assert "--augment); choose another --run" in message


# ---- What a device cannot


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"jpeg_quality": 40}, "--augment must be host with --jpeg-quality"),
        ({"mixup": 0.2}, "--augment must be host: --mixup mixes a batch"),
    ],
)
def test_what_a_device_cannot_is_refused_by_name(wanted, message):
    assert TrainSettings(**wanted).augment == "host"
    with pytest.raises(UserError, match=message):
        TrainSettings(augment="device", **wanted)


def test_the_place_is_that_of_the_setting():
    assert on_device.kernels(TrainSettings()) is HOST
    assert on_device.kernels(TrainSettings(augment="device")) is DEVICE
