"""Keras on JAX and PyTorch: the three projects train, go on, score, explain and predict alike."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from common.base import environment
from common.base.environment import BACKENDS, backend_fault
from common.base.files import ROOT
from tests.helpers import backend_steps, needs
from tests.helpers.scripts import PROJECTS, copy_run, run
from tests.tools import kills

HEART = "heart_detection"
RESUMED = """
import sys
from pathlib import Path
from common.base.backend import start_tensorflow
start_tensorflow()
from common.base.signals import Stopped
from tests.helpers import fit_run

folder = Path(sys.argv[1])
for momentum in 0.0, 0.9:
    settings = fit_run.settings(ema_momentum=momentum)
    whole, broken = folder / f"whole-{momentum}", folder / f"broken-{momentum}"
    fit_run.fit(whole, settings)
    for epoch, step in (1, 3), (3, 5):
        try:
            fit_run.fit(broken, settings, fault_in=epoch, fault_step=step, kind="signal")
        except Stopped:
            assert (broken / "checkpoint.npz").exists()
    fit_run.fit(broken, settings)
    fit_run.assert_same(whole, broken)
"""


def shell(backend: str) -> dict[str, str]:
    """This shell with a backend, on the CPU."""
    return {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"}


def on(backend: str, *arguments: object, code: int = 0) -> str:
    """Run Python on a backend; give back what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env=shell(backend), capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    # At 32 pixels a map has one place, of which JAX says that its softmax is always 1.
    said = re.sub(r".*Warning: You are using a softmax over axis -1 .*\n.*\n", "", done.stderr)
    assert "Warning" not in said, said[-4000:]
    return done.stdout + said


def script(project: str, name: str) -> object:
    return ROOT / project / f"{name}.py"


# ---- What is asked for


def test_an_unknown_backend_is_one_line(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert backend_fault() == "KERAS_BACKEND=theano: is none of tensorflow, jax, torch"
    said = on("theano", script(HEART, "train"), "--help", code=2)
    assert said == f"error: {backend_fault()}\n"


def test_a_backend_that_is_not_installed_comes_with_pips_command(monkeypatch):
    monkeypatch.setitem(environment.BACKENDS, "absent", "absent==1.0")
    monkeypatch.setenv("KERAS_BACKEND", "absent")
    assert backend_fault().endswith(f"run: {sys.executable} -m pip install absent==1.0")
    for name in "", "tensorflow":
        monkeypatch.setenv("KERAS_BACKEND", name)
        assert not backend_fault()


def test_pip_is_told_the_versions_that_the_tests_have():
    files = ("requirements.txt", "requirements-dev.txt", "benchmarks/requirements.txt")
    lines = {line for file in files for line in (ROOT / file).read_text().splitlines()}
    assert set(BACKENDS.values()) <= lines


# ---- The same numbers


def assert_the_steps_of_tensorflow(backend, project, folder):
    backend_steps.steps(project, folder)
    on(backend, "-m", "tests.helpers.backend_steps", folder, project)
    expected, actual = (
        dict(np.load(folder / f"{name}-{project}.npz")) for name in ("tensorflow", backend)
    )
    assert set(expected) == set(actual) >= {"losses", "gradient", "exact_gradient", "output"}
    assert len(expected["losses"]) == 20 and np.ptp(expected["losses"]) > 0.02
    # In float32 a unit within rounding of its ReLU's kink moves the gradient by some 1e-4 of it, of
    # other samples on another processor.
    for name, share in {"exact_gradient": 1e-5, "gradient": 1e-3}.items():
        difference = actual.pop(name) - expected[name]
        assert np.linalg.norm(difference) < share * np.linalg.norm(expected.pop(name)), name
    np.testing.assert_allclose(actual["losses"], expected["losses"], atol=1e-4)
    for name in set(expected) - {"losses"}:
        assert np.ptp(expected[name]) > 0
        # A network that has learned nothing has logits of hundreds.
        atol = 2e-4 if name == "output" else 1e-5
        np.testing.assert_allclose(actual[name], expected[name], atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_jax_takes_the_steps_of_tensorflow(project, tmp_path):
    needs.package("jax")
    assert_the_steps_of_tensorflow("jax", project, tmp_path)


@pytest.mark.torch
@pytest.mark.parametrize("project", PROJECTS)
def test_pytorch_takes_the_steps_of_tensorflow(project, tmp_path):
    needs.package("torch")
    assert_the_steps_of_tensorflow("torch", project, tmp_path)


def rows(folder):
    with open(folder / "predictions.csv") as file:
        return list(csv.DictReader(file))


def assert_same_table(expected, actual):
    """Two tables hold the same words, and numbers to 1e-5; of a mask to 1e-4 of themselves.

    The edges of a box are written in hundredths of a pixel, the last of which may be rounded away.
    Where rounding decides whether a probability is over the threshold, the mask has a voxel more.
    """
    assert len(expected) == len(actual) > 0
    for one, other in zip(expected, actual, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if re.fullmatch(r"-?\d+\.\d+(e-\d+)?", value):
                share = 1e-4 if "dice" in one else 0
                apart = 0.011 if re.fullmatch("[xy][01]", name) else 1e-5
                near = pytest.approx(float(value), abs=apart, rel=share)
                assert float(other[name]) == near, name
            else:
                assert other[name] == value, name


def assert_scored_and_predicted_as_on_tensorflow(backend, once, tmp_path):
    copy = copy_run(once.run, tmp_path / "run")
    said = on(backend, script(once.project, "evaluate"), "--run", copy, "--pictures", 2)
    assert f"KERAS_BACKEND={backend}" in said
    assert_same_table(once.predictions, rows(copy / "evaluation" / "test"))
    versions = json.loads((copy / "evaluation/test/metrics.json").read_text())["versions"]
    assert versions[backend] == BACKENDS[backend].partition("==")[2]
    inputs = sorted(once.sample.glob("*mages*/*.*"))[:1]
    for name, folder in ("tensorflow", once.run), (backend, copy):
        output = tmp_path / f"by-{name}"
        on(name, script(once.project, "predict"), *inputs, "--run", folder, "--output", output)
    assert_same_table(rows(tmp_path / "by-tensorflow"), rows(tmp_path / f"by-{backend}"))


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_jax_scores_and_predicts_as_tensorflow_does(whole, project, tmp_path):
    needs.package("jax")
    assert_scored_and_predicted_as_on_tensorflow("jax", whole(project), tmp_path)


@pytest.mark.torch
@pytest.mark.parametrize("project", PROJECTS)
def test_pytorch_scores_and_predicts_as_tensorflow_does(whole, project, tmp_path):
    needs.package("torch")
    assert_scored_and_predicted_as_on_tensorflow("torch", whole(project), tmp_path)


# ---- Going on


@pytest.mark.slow
def test_on_jax_a_training_that_is_broken_off_ends_as_an_unbroken_one(tmp_path):
    needs.package("jax")
    on("jax", "-c", RESUMED, tmp_path)


@pytest.mark.torch
def test_on_pytorch_a_training_that_is_broken_off_ends_as_an_unbroken_one(tmp_path):
    needs.package("torch")
    on("torch", "-c", RESUMED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_on_jax_a_script_that_is_stopped_within_an_epoch_ends_as_an_unbroken_one(
    whole, project, tmp_path, monkeypatch
):
    needs.package("jax")
    # Each training is compiled once.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    once = whole(project)
    train = [script(project, "train"), *once.training(2), "--checkpoint-seconds", 0]
    on("jax", *train, "--run", tmp_path / "unbroken")
    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [sys.executable, *map(str, train), "--run", str(broken)],
        cwd=ROOT, env=shell("jax"), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not any(broken.rglob("checkpoint.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, error = process.communicate(timeout=600)
    assert process.returncode == 143, error
    assert re.search(r"saved after step \d+ of epoch 1", said), said
    assert "goes on after step" in on("jax", *train, "--run", broken)
    assert not kills.differences(kills.contents(tmp_path / "unbroken"), kills.contents(broken))
    config = json.loads((broken / "config.json").read_text())
    assert config["environment"]["KERAS_BACKEND"] == "jax" and config["versions"]["jax"]


@pytest.mark.slow
def test_a_run_of_tensorflow_goes_on_on_jax_which_is_said(whole, tmp_path):
    needs.package("jax")
    once = whole("atrium_segmentation")
    folder, models = tmp_path / "run", ["--models", "unet", "unet3d"]
    run(once.project, "train", *once.training(1), *models, "--run", folder)
    train = [script(once.project, "train"), *once.training(2), *models, "--run", folder]
    said = on("jax", *train)
    assert "was begun with other versions or variables (KERAS_BACKEND, jax)" in said
    assert "goes on after epoch 1" in said
    for name in models[1:]:
        assert len((folder / name / "history.csv").read_text().splitlines()) == 3


# ---- What a backend has not


@pytest.mark.slow
def test_what_jax_has_not_is_refused_by_name(whole, tmp_path):
    needs.package("jax")
    once = whole("atrium_segmentation")
    train = [script(once.project, "train"), *once.training(2), "--run", tmp_path / "run"]
    said = on("jax", *train, "--precision", "onednn_bfloat16", code=2)
    assert "error: --precision onednn_bfloat16: is TensorFlow's alone" in said
    said = on("jax", *train, "--xla", "off", code=2)
    assert "error: --xla off: KERAS_BACKEND=jax always compiles by XLA; give --xla auto" in said
    said = on("jax", "-m", "common.export", once.run, code=2)
    assert said.startswith("error: KERAS_BACKEND=jax: TensorFlow writes the copies")
