"""The check on a graphics card: what it says without one, and its steps, here on the CPU."""

import subprocess
import sys

import pytest

from common.base.files import ROOT
from tools.gpu_check import Row, check, table


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
    rows = [Row(what, 10, 1e-5), Row(what, 10, 0.1), Row(what, fault="train.py: error: no")]
    assert [row.is_right for row in rows] == [True, False, False]
    assert [row[-1] for row in table(rows).rows] == ["", "WRONG", "train.py: error: no"]


@pytest.mark.slow
def test_its_steps_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    rows = list(check("demo", ["float32"], tmp_path, ["heart_detection"]))
    assert [row.what for row in rows] == [
        ("heart_detection", "float32", xla) for xla in ("off", "on")
    ]
    for row in rows:
        assert row.is_right and row.difference == 0 and row.rate > 1, row
