"""Settings from a file: --print-config, --config and the config.json of a run."""

from __future__ import annotations

import importlib
import json
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st

from common.base.command_line import given_settings, parse
from common.base.config_file import config_text
from common.base.errors import UserError
from common.base.project import Preset, Project
from common.base.settings import SharedEvaluate, SharedPredict, SharedPrepare, SharedTrain, renamed
from tests.helpers.scripts import PROJECTS, run

SCRIPTS = ("prepare", "train", "evaluate", "predict")


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """A setting of every kind."""

    word: str = ""
    """Any."""
    widths: tuple[int, ...] = (8, 16)
    """Any."""
    runs: tuple[Path, ...] = ()
    """Any."""
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Three."""
    loss: Literal["mse", "iou+l1"] = "mse"
    """One of two."""
    shuffle: bool = renamed("mixed", True)
    """Order."""


PRESET = Preset("", SharedPrepare(), TrainSettings(), SharedEvaluate(), SharedPredict())
PROJECT = Project("beats", "d", "s", {
    "demo": PRESET, "cpu": replace(PRESET, train=TrainSettings(epochs=3, learning_rate=0.5)),
})  # fmt: skip


def train(*arguments) -> TrainSettings:
    return parse(PROJECT, "train", "", list(map(str, arguments)))


def printed(capsys, project, kind, *arguments) -> str:
    with pytest.raises(SystemExit) as leaving:
        parse(project, kind, "", [*map(str, arguments), "--print-config"])
    assert leaving.value.code == 0
    return capsys.readouterr().out


def config(folder, text, name="run.toml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# ---- What is printed is what is taken


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("preset", ["demo", "cpu"])
def test_every_script_takes_what_it_prints(name, kind, preset, capsys, tmp_path):
    project = importlib.import_module(f"{name}.config").PROJECT
    line = ["--preset", preset, "--seed", "7", *(["a b", "c"] if kind == "predict" else [])]
    text = printed(capsys, project, kind, *line)
    file = str(config(tmp_path, text))
    settings = parse(project, kind, "", ["--config", file])
    assert settings == parse(project, kind, "", line)
    names = {field.name for field in fields(settings)}
    words = {line.lstrip("# ").partition(" =")[0] for line in text.splitlines()[3:]}
    assert words == names
    inputs = {"inputs": ["a b", "c"]} if kind == "predict" else {}
    assert tomllib.loads(text) == {"preset": preset, "seed": 7, **inputs}
    assert given_settings(type(settings), [f"--config={file}"]) == {"preset", "seed"}


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# A name that is no UTF-8 cannot be said in TOML.
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
# What begins with a dash is a flag on the command line too, in a list.
WORDS = TEXTS.filter(lambda text: text and not text.startswith("-"))
SETTINGS = st.builds(
    TrainSettings,
    preset=st.just("cpu"), word=TEXTS, prepared=st.none() | WORDS.map(Path),
    learning_rate=st.floats(1e-300, 1e300), epochs=st.integers(1, 10**9),
    widths=st.lists(st.integers(-9, 9)).map(tuple), runs=st.lists(WORDS.map(Path)).map(tuple),
    spacing_mm=st.tuples(NUMBERS, NUMBERS, NUMBERS), loss=st.sampled_from(["mse", "iou+l1"]),
    shuffle=st.booleans(),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("settings")


@limited(max_examples=20, deadline=None)
@given(SETTINGS)
def test_any_value_comes_back(place, settings):
    names = {field.name for field in fields(settings)}
    file = config(place, config_text(settings, names, "train.py"))
    assert train("--config", file) == settings
    # By the reader of the standard library alone.
    stored = tomllib.loads(file.read_text(encoding="utf-8"))
    plain = json.loads(json.dumps(vars(settings), default=str))
    assert stored == {name: value for name, value in plain.items() if value is not None}


def test_a_script_prints_nothing_else(tmp_path):
    text = run("heart_detection", "evaluate", "--moves", "--print-config", "--preset", "cpu")
    notice = "--moves is now --test-time-augmentation\n"
    assert text.endswith(notice)  # on standard error
    stored = tomllib.loads(text.removesuffix(notice))
    assert stored == {"preset": "cpu", "test_time_augmentation": True}


def test_what_wins_is_the_command_line_then_the_file_then_the_preset(tmp_path):
    file = config(tmp_path, 'preset = "cpu"\nlearning-rate = 0.25\nwidths = [4]\nshuffle = false')
    expected = TrainSettings(preset="cpu", epochs=3, learning_rate=0.25, widths=(4,), shuffle=False)
    assert train("--config", file) == expected
    line = ["--widths", 1, 2, "--config", file, "--shuffle", "--epochs=9"]
    assert train(*line) == replace(expected, widths=(1, 2), shuffle=True, epochs=9)
    in_demo = replace(expected, preset="demo", epochs=30)
    assert train("--config", file, "--preset", "demo") == in_demo


def test_of_inputs_those_of_the_command_line_count(tmp_path):
    file = config(tmp_path, 'preset = "cpu"\ninputs = ["a", "b"]\nrun = "r"')
    for line, inputs in (([], ("a", "b")), (["c"], ("c",))):
        settings = parse(PROJECT, "predict", "", ["--config", str(file), *line])
        assert settings.inputs == tuple(map(Path, inputs)) and settings.run == Path("r")


def test_settings_that_only_fit_with_the_command_line_are_taken(tmp_path):
    file = config(tmp_path, 'preset = "cpu"\nhead_epochs = 5')
    assert train("--config", file, "--epochs", 5).head_epochs == 5
    with pytest.raises(UserError, match="--head-epochs must be 0 to --epochs"):
        train("--config", file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_another_shell_is_read(tmp_path, encoding):
    file = tmp_path / "run.toml"
    file.write_bytes("preset = 'cpu'\r\nword = 'ü'\r\n".encode(encoding))
    assert train("--config", file).word == "ü"


def test_an_old_name_is_taken_and_printed_as_the_new_one(tmp_path, capsys):
    file = config(tmp_path, 'preset = "cpu"\nmixed = false\naveraging = 0.5')
    settings = train("--config", file)
    assert (settings.shuffle, settings.ema_momentum) == (False, 0.5)
    text = printed(capsys, PROJECT, "train", "--config", file)
    assert tomllib.loads(text) == {"preset": "cpu", "shuffle": False, "ema_momentum": 0.5}


# ---- What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 8", "there is no setting batchsize; did you mean batch_size?"),
        ("epoch = 8", "there is no setting epoch; did you mean epochs?"),
        ("zzz = 8", "there is no setting zzz; --help-all shows every setting"),
        ("config = 'b'", "there is no setting config; "),
        ("[train]\nepochs = 8", "there is no setting train; "),
        ("epochs = 2.5", "2.5"),
        ("epochs = true", "epochs takes a number or a word. Received: True"),
        ("epochs = [2]", "epochs takes a number or a word. Received: [2]"),
        ("widths = 2", "widths takes a list. Received: 2"),
        ("widths = [[2]]", "widths takes a list. Received: [[2]]"),
        ("shuffle = 'no'", "shuffle takes true or false. Received: no"),
        ("word = 2026-01-02", "word takes a number or a word. Received: 2026-01-02"),
        ("loss = 'l2'", "l2"),
        ("shuffle = true\nmixed = true", "gives a setting twice"),
        ("batch-size = 1\nbatch_size = 1", "gives a setting twice"),
        ("epochs = 1\nepochs = 2", "not readable as TOML"),
        ("epochs =", "not readable as TOML"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, text, message):
    file = config(tmp_path, text)
    with pytest.raises(UserError) as refusal:
        train("--preset", "cpu", "--config", file)
    assert str(refusal.value).startswith(f"{file}: ") and message in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path):
    for arguments, message in (
        (["--config", tmp_path / "run.toml"], "run.toml: there is no such file"),
        (["--config", tmp_path], "is a folder; name a file, such as a run's config.json"),
        (["--config"], "--config: name a file, such as --print-config prints"),
        (["--config="], "--config: name a file"),
    ):
        with pytest.raises(UserError, match=message):
            train(*arguments)


# ---- The config.json of a run


@pytest.mark.damaged
def test_a_runs_settings_are_taken_and_newer_ones_have_their_default(tmp_path):
    stored = {"preset": "cpu", "epochs": 5, "mixed": False, "prepared": "p", "run": None}
    text = json.dumps({"project": "beats", "settings": stored})
    file = config(tmp_path, text, "config.json")
    expected = TrainSettings(preset="cpu", epochs=5, shuffle=False, prepared=Path("p"))
    assert train("--config", file) == expected
    assert train("--config", file, "--seed", 1) == replace(expected, seed=1)
    # Whatever a preset fits to its data, these were fitted already.
    with_values = {f.name for f in fields(expected) if getattr(expected, f.name) is not None}
    assert given_settings(TrainSettings, ["--config", str(file)]) >= with_values


def test_a_runs_paths_are_those_from_its_folder_and_not_its_own(tmp_path):
    run = tmp_path / "runs/first"
    run.mkdir(parents=True)
    stored = {"prepared": "data/prepared", "run": "runs/first", "epochs": 3}
    content = {"project": "beats", "settings": stored, "prepared": "../../data/prepared"}
    file = config(run, json.dumps(content), "config.json")
    settings = train("--config", file)
    assert (settings.prepared, settings.run) == (tmp_path / "data/prepared", None)
    assert train("--config", file, "--prepared", "p").prepared == Path("p")


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("train", {"project": "other", "settings": {}}, "is of a run of other, not of beats"),
        ("train", {"project": "beats"}, "is no config.json of a run"),
        ("train", [], "is no config.json of a run"),
        ("train", {"project": "beats", "settings": {"gone": 1}}, "there is no setting gone"),
        ("evaluate", {"project": "beats", "settings": {}}, "has settings of train.py; this script"),
    ],
)
def test_a_json_that_is_none_of_this_script(tmp_path, kind, content, message):
    file = config(tmp_path, json.dumps(content), "config.json")
    with pytest.raises(UserError, match=message):
        parse(PROJECT, kind, "", ["--config", str(file)])
