"""The machine that a script runs on: where it can't go on, one line says why and what to do."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.base import command_line
from common.base.arguments import Parser
from common.base.backend import cards_of
from common.base.errors import UserError, run_script
from common.base.files import ROOT, read_json, write_json
from common.base.settings import SharedEvaluate
from common.explaining.gradcam import gradcam, layer_to_explain
from common.models.stored import load_model
from common.prediction.predictions import Predictions
from common.training import evaluations, runs
from tests.helpers.run_folders import SETTINGS, end, prepared_in, project_in
from tests.models.test_stored import small

# ---- What is not installed, or shadowed


@pytest.mark.parametrize(
    "command",
    [["heart_detection/predict.py"], ["-m", "atrium_segmentation.train"], ["-m", "common.results"],
     ["-c", "import common; from common.base import command_line"]],
)  # fmt: skip
def test_a_python_without_the_packages(command):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    line = (
        r"error: (\w+) is not installed for this Python; start another, or run: "
        rf"{re.escape(sys.executable)} -m pip install -r {re.escape(str(ROOT))}/requirements\.txt\n"
    )
    assert re.fullmatch(line, done.stderr), done.stderr


def test_a_module_of_somebody_else_keeps_its_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("import common\nimport absent_here\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "mine.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize("project", ["heart_detection", "atrium_segmentation"])
def test_the_common_of_another_project_comes_second(tmp_path, project):
    for name in ("common", "data", "tools"):
        (tmp_path / f"{name}.py").write_text('"""Of another project."""\n')
    path = os.pathsep.join(map(str, (tmp_path, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", f"import {project}, common; print(common.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(ROOT / "common" / "__init__.py"), done.stderr


# ---- What runs out


def xla_error():
    return type("XlaRuntimeError", (RuntimeError,), {})("RESOURCE_EXHAUSTED: Out of memory")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        xla_error(),
    ],
)
def test_memory_that_runs_out(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as leaving:
        run_script(main)
    assert leaving.value.code == 2
    assert capsys.readouterr().err == (
        "error: out of memory: this needs more than the machine or its card has free; give a "
        "smaller --batch-size or --image-size (prepare_data.py, predict.py: fewer --workers), or "
        "end what else runs there\n"
    )


# ---- A card, a layer, another Keras


@pytest.mark.parametrize(("given", "card"), [("gpu", False), ("gpu", True), ("cpu", False)])
def test_the_preset_for_a_card_that_is_not_there(monkeypatch, given, card):
    monkeypatch.setattr(command_line, "has_gpu", lambda: card)
    project = importlib.import_module("heart_detection.config").PROJECT
    arguments = ["--preset=cpu", "--preset", given]
    expected = replace(project.presets[given].train, preset=given)
    if given == "gpu" and not card:
        with pytest.raises(
            UserError,
            match=r"^--preset gpu: no card was found, NVIDIA's driver .*; give --preset cpu",
        ):
            command_line.parse(project, "train", "", arguments)
        arguments, expected = [*arguments, "--device", "cpu"], replace(expected, device="cpu")
    assert command_line.parse(project, "train", "", arguments) == expected


@pytest.mark.parametrize(
    ("init", "count", "cards"), [(0, 0, 0), (0, 2, 2), (100, 2, 0), (None, 0, 0)]
)
def test_cards_are_those_that_the_driver_shows(init, count, cards):
    """By functions in C's form; 100 is CUDA_ERROR_NO_DEVICE, None a library without them."""
    functions = {}
    if init is not None:
        number = ctypes.POINTER(ctypes.c_int)
        functions["cuInit"] = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)(lambda _: init)

        @ctypes.CFUNCTYPE(ctypes.c_int, number)
        def get_count(place):
            place[0] = count
            return 0

        functions["cuDeviceGetCount"] = get_count
    assert cards_of(SimpleNamespace(**functions)) == cards


@pytest.mark.slow
def test_a_card_can_be_hidden():
    code = (
        "from common.base.backend import has_gpu, start_tensorflow; start_tensorflow('cpu');"
        "import tensorflow as tf; print(has_gpu(), tf.config.get_visible_devices('GPU'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert shown.stdout == "False []\n"


@pytest.mark.parametrize(
    ("layer", "problem"),
    [("out", "has no map of places"), ("image", "has no map of places"), ("pool", "has no map of "
     "places"), ("last", "is no layer of the model")],
)  # fmt: skip
def test_a_layer_without_a_map(layer, problem):
    with pytest.raises(UserError, match=r"^--gradcam-layer ") as refusal:
        layer_to_explain(small(), layer)
    assert str(refusal.value) == f"--gradcam-layer {layer}: {problem}; ask one of norm"


def test_every_layer_that_is_not_refused_has_a_map():
    model = small()
    for layer in model.layers:
        try:
            layer_to_explain(model, layer.name)
        except UserError:
            continue
        heat = gradcam(model, np.ones((1, 16, 16, 1), np.float32), layer.name)
        assert heat.shape == (1, 16, 16)


def with_entry(path, name, change):
    """The same file of a model with another content of an entry."""
    with zipfile.ZipFile(path) as archive:
        content = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, change(text.decode()) if entry == name else text)


def test_a_model_of_another_keras(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    with_entry(path, "config.json", lambda text: text.replace("BatchNormal", "SteadyNormal"))
    with pytest.raises(UserError, match="it is damaged or no model of this repository: train agai"):
        load_model(path)
    with_entry(path, "metadata.json", lambda text: text.replace(keras.__version__, "4.2.0"))
    with pytest.raises(UserError) as refusal:
        load_model(path)
    assert str(refusal.value) == (
        f"{path}: was saved by Keras 4.2.0, and Keras {keras.__version__} cannot load it "
        "(ValueError); pip install keras==4.2.0, or update this repository"
    )


# ---- Data and run on another disk


@pytest.fixture
def moved(tmp_path):
    """A run and its data, made in one folder and moved together to another."""
    prepared = prepared_in(tmp_path / "a" / "prepared")
    run = tmp_path / "a" / "runs" / "first"
    run.mkdir(parents=True)
    assert runs.begin_run(run, SETTINGS, prepared)
    end(run)
    (tmp_path / "a").rename(tmp_path / "b")
    return tmp_path / "b"


def data_of(folder, **given):
    settings = SharedEvaluate(run=folder / "runs" / "first", **given)
    run = runs.open_run(project_in(folder), settings)
    return evaluations.evaluation_data(run, settings, folder / "e", lambda *_: folder)[0].folder


def test_data_and_run_that_were_moved_together_are_evaluated(moved):
    assert data_of(moved) == moved / "prepared"


def test_data_that_was_moved_alone_is_asked_for(moved, tmp_path):
    (moved / "prepared").rename(tmp_path / "c")
    with pytest.raises(UserError) as refusal:
        data_of(moved)
    assert str(refusal.value) == (
        f"{moved / 'prepared'}: there is no such folder; give --prepared the one where the "
        f"data that {moved / 'runs/first'} was trained on lies now, or another dataset's --source"
    )
    assert data_of(moved, prepared=tmp_path / "c") == tmp_path / "c"


def test_the_config_of_an_earlier_version_does_not_say_where_its_data_lay(moved):
    file = moved / "runs" / "first" / "config.json"
    write_json(file, {**read_json(file), "prepared": str(moved.parent / "a" / "prepared")})
    with pytest.raises(UserError, match="give --prepared the one"):
        data_of(moved)
    shutil.copytree(moved, moved.parent / "a")
    assert data_of(moved) == moved.parent / "a" / "prepared"


# ---- The commands


@pytest.mark.parametrize(
    "module",
    [
        *("common.results", "common.compare", "common.ranking", "common.export"),
        "heart_detection.report",
        *("data.download", "data.convert"),
    ],
)
def test_every_command_has_help(module, monkeypatch, capsys):
    command = importlib.import_module(module)
    main = getattr(command, "main", None)
    if main is None:
        from common.reporting.html_report import write_again

        main = lambda: write_again(command.PROJECT, command.EvaluateSettings(), command.write_page)  # noqa: E731
    monkeypatch.setattr("sys.argv", [module, "--help"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {module} ")
    monkeypatch.setattr("sys.argv", [module, "--nothing"])
    with pytest.raises(UserError, match=r"; --help shows how$"):
        main()


def test_a_wrong_argument_is_one_line():
    parser = Parser("common.results", "About.")
    with pytest.raises(UserError, match=r"^unrecognized arguments: --x; --help shows how$"):
        parser.parse_args(["--x"])


def test_a_row_keeps_what_libraries_warned_of_until_the_end(tmp_path):
    predictions = Predictions(tmp_path, [], {}, "key", {}, _kinds={"a.dcm": ["pydicom: Odd"]})
    predictions.add([{"file": "a.dcm", "probability": 1}, {"file": "b.dcm", "probability": 0}])
    lines = [json.loads(line) for line in (tmp_path / "unfinished.jsonl").read_text().splitlines()]
    assert lines == list(predictions.rows.values())
    assert [row.get("warnings") for row in lines] == [["pydicom: Odd"], None]
