"""A script in a shell and a home that are set up for other programs does what it does without."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from common.base.environment import recorded_environment
from common.base.files import ROOT
from tests.helpers import fit_run, needs
from tests.helpers.scripts import PROJECTS

KERAS = {
    "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.25, "backend": "torch",
}  # fmt: skip
SHELL = {
    "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "KERAS_NNX_ENABLED": "true",
    "TF_USE_LEGACY_KERAS": "1", "MPLBACKEND": "module://absent.backend",
    "PYTHONIOENCODING": "ascii", "LANG": "C", "PYTHONHASHSEED": "7",
}  # fmt: skip

PROGRAM = """
import json, os, sys
from pathlib import Path
from common.base.backend import start_tensorflow
from common.base.errors import run_script

def main():
    start_tensorflow()
    import keras
    import matplotlib
    import tensorflow as tf
    from tests.helpers import fit_run

    print("r\\u00f6ntgen")
    (seen := Path(sys.argv[1]) / "seen.json").parent.mkdir()
    seen.write_text(json.dumps({
        "backend": keras.config.backend(), "format": keras.config.image_data_format(),
        "floatx": keras.config.floatx(), "epsilon": keras.config.epsilon(),
        "policy": keras.config.dtype_policy().name, "tf.keras": tf.keras.__version__,
        "home": os.environ.get("KERAS_HOME"),
    }))
    if len(sys.argv) > 2:
        fit_run.fit(Path(sys.argv[1]) / "run", fit_run.settings())

run_script(main)
"""


def shell(home: Path, **variables: str) -> dict[str, str]:
    """This shell with another home, and variables."""
    kept = {name: value for name, value in os.environ.items() if name not in {*SHELL, "KERAS_HOME"}}
    return {**kept, "HOME": str(home), **variables}


def started(environment: dict[str, str], *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def home_with(folder: Path, content: object) -> Path:
    (folder / ".keras").mkdir(parents=True)
    (folder / ".keras" / "keras.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_a_training_is_the_same_in_a_shell_that_other_programs_set_up(tmp_path):
    odd, home = tmp_path / "odd", home_with(tmp_path / "home", KERAS)
    assert "r\\xf6ntgen" in started(shell(home, **SHELL), "-c", PROGRAM, odd, "fit")
    assert json.loads((odd / "seen.json").read_text()) == {
        "backend": "tensorflow", "format": "channels_last", "floatx": "float32", "epsilon": 1e-7,
        "policy": "float32", "tf.keras": keras.__version__, "home": None,
    }  # fmt: skip
    fit_run.fit(tmp_path / "plain", fit_run.settings())
    assert len(fit_run.history(odd / "run")) == 5
    fit_run.assert_same(tmp_path / "plain", odd / "run")


@pytest.mark.slow
def test_a_keras_json_that_keras_refuses_is_none(tmp_path):
    folder = home_with(tmp_path, {"floatx": "float128", "nnx_enabled": True}) / ".keras"
    started(shell(tmp_path, KERAS_HOME=str(folder)), "-c", PROGRAM, tmp_path / "seen")
    seen = json.loads((tmp_path / "seen" / "seen.json").read_text())
    assert seen["policy"] == "float32" and seen["home"] == str(folder)


def test_in_a_notebook_its_own_backend_stays(tmp_path):
    program = "import sys; sys.modules['IPython'] = sys; import common, os; print(os.environ['{}'])"
    environment = shell(tmp_path, MPLBACKEND="inline")
    assert started(environment, "-c", program.format("MPLBACKEND")) == "inline\n"


@needs.machine(platform.machine().lower() in {"x86_64", "amd64"}, "an x86 processor")
@pytest.mark.slow
@pytest.mark.parametrize("given", ["", "0"])
def test_convolutions_are_onednns_unless_the_shell_says_otherwise(tmp_path, given):
    program = """
import common
from tensorflow.python.util import _pywrap_util_port
print(_pywrap_util_port.IsMklEnabled())
"""
    plain = shell(tmp_path)
    plain.pop("TF_ENABLE_ONEDNN_OPTS", None)
    variables = {**plain, "TF_ENABLE_ONEDNN_OPTS": given} if given else plain
    assert started(variables, "-c", program) == f"{given != '0'}\n"


def test_matplotlibs_own_settings_change_no_picture(tmp_path):
    program = """
import sys; from pathlib import Path
from common.reporting.figures import new_figure, save
figure, axes = new_figure(1, 1, 2, 2)
axes[0, 0].plot([1, 3, 2])
save(figure, Path(sys.argv[1]), False)
"""
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nsavefig.bbox: tight\n")
    odd = {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "no backend"}
    for name, variables in ("a", {}), ("b", odd):
        started(shell(tmp_path, **variables), "-c", program, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("project", PROJECTS)
def test_a_script_finds_its_own_common(project, tmp_path):
    for name in ("common", "data"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of another project')\n")
    environment = shell(tmp_path, PYTHONPATH=str(tmp_path))
    help_ = started(environment, ROOT / project / "prepare_data.py", "--help")
    assert "--prepared" in help_


@pytest.mark.slow
def test_the_scripts_end_alike_in_a_shell_that_other_programs_set_up(whole, tmp_path):
    """All that is not asked to do otherwise: what is trained, predicted, exported and drawn."""
    once = whole("atrium_segmentation")
    environment = shell(home_with(tmp_path / "home", KERAS), **SHELL)
    folder, run = ROOT / once.project, tmp_path / "run"
    started(environment, folder / "train.py", *once.training(2), "--run", run)
    for network in ("unet", "fcn8"):
        assert fit_run.history(run / network) == fit_run.history(once.run / network)
    assert json.loads((run / "config.json").read_text())["environment"] == recorded_environment()
    started(environment, folder / "evaluate.py", "--run", run, "--pictures", 2)
    tables = [path / "evaluation/test/predictions.csv" for path in (run, once.run)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    volume = next((once.sample / "imagesTr").glob("*.nii.gz"))
    for path, variables in (run, environment), (once.run, shell(tmp_path)):
        output = tmp_path / f"predicted-{path == run}"
        started(variables, folder / "predict.py", volume, "--run", path, "--output", output)
    tables = [tmp_path / f"predicted-{odd}" / "predictions.csv" for odd in (True, False)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    started(environment, "-m", "common.export", run)
    started(environment, "-m", "common.results", run)
    started(environment, "-m", "common.compare", run, once.run, "--output", tmp_path / "page.html")
    started(environment, "-m", f"{once.project}.report", run / "evaluation" / "test")
