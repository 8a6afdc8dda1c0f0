"""The check on a graphics card: what it says without one, and its steps, here on the CPU."""

import subprocess
import sys

import pytest

from common.base.files import ROOT
from tools import gpu_check
from tools.gpu_check import Row, check, table


@pytest.mark.slow
@pytest.mark.parametrize("code, options", [(0, []), (2, ["--require"])])
def test_without_a_card_nothing_reads_as_a_pass(code, options, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu_check", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stdout == "not run: no card (tensorflow has found none)\n"


def test_a_row_is_wrong_where_a_step_failed_or_the_predictions_differ():
    what = ("heart_detection", "float32", "on")
    rows = [Row(what, 10, 20, 1e-5), Row(what, 10, 20, 0.1), Row(what, fault="train.py: error: no")]
    assert [row.is_right for row in rows] == [True, False, False]
    assert [row[-1] for row in table(rows).rows] == ["", "WRONG", "train.py: error: no"]
    assert [row[3:5] for row in table(rows).rows] == [("10", "20"), ("10", "20"), ("-", "-")]


@pytest.mark.parametrize("shape", [(32, 32, 1), (None, None, 5), (16, None, None, 1)])
def test_one_batch_has_the_size_that_a_network_takes(tmp_path, shape):
    import keras

    image = keras.Input(shape)
    kind = keras.layers.Conv2D if len(shape) == 3 else keras.layers.Conv3D
    keras.Model(image, kind(1, 1)(image)).save(tmp_path / "model.keras")
    assert gpu_check.one_batch(tmp_path / "model.keras", "float32", "off", 2, 32, steps=2) > 0


@pytest.mark.slow
def test_its_steps_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setitem(gpu_check.XLA, "tensorflow", ("off",))
    [row] = check("demo", ["float32"], tmp_path, ["atrium_segmentation"])
    assert row.what == ("atrium_segmentation", "float32", "off")
    assert row.is_right and row.difference == 0 and row.rate > 1, row
    assert row.rate_in_memory > 1, row
