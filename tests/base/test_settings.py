"""The command line as settings."""

import importlib
import json
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest

from common.base import command_line
from common.base.command_line import parse
from common.base.errors import UserError
from common.base.help_text import GROUPS
from common.base.project import Preset, Project, newest_run
from common.base.settings import (
    SharedEvaluate,
    SharedPredict,
    SharedPrepare,
    SharedTrain,
    current_names,
    first_names,
    renamed,
)
from tests.helpers.scripts import PROJECTS


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """What train.py takes."""

    loss: Literal["mse", "iou+l1"] = "mse"
    """What is made small,
    told in two lines."""
    widths: tuple[int, ...] = (8, 16)
    """Channels."""
    shuffle: bool = renamed("mixed", True)
    """Order."""


@dataclass(frozen=True)
class Here(Project):
    """A project in a folder of its own."""

    root: Path = Path()

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    def prepared(self, synthetic: bool) -> Path:
        return self.root / ("SYNTHETIC" if synthetic else "real")

    @property
    def runs(self) -> Path:
        return self.root / "runs"


def preset(epochs):
    return Preset(
        f"about {epochs} epochs", SharedPrepare(folds=epochs), TrainSettings(epochs=epochs),
        SharedEvaluate(pictures=epochs), SharedPredict(pictures=epochs),
    )  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Without data, on a machine without a card."""
    monkeypatch.setattr(command_line, "has_gpu", lambda: False)
    presets = {"demo": preset(2), "cpu": preset(3), "gpu": preset(4)}
    return Here("heart_detection", "rsna", "sample", presets, root=tmp_path)


def train(project, *arguments):
    return parse(project, "train", "Train.", list(arguments))


def manifest(folder, **content):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(content))


def test_what_is_not_given_has_its_default(project):
    found = train(project, "--preset", "cpu")
    assert found == TrainSettings(preset="cpu", epochs=3)
    assert type(found) is TrainSettings


def test_what_is_given_wins_over_the_preset_before_and_after_it(project):
    for arguments in (
        ["--epochs", "7", "--preset", "gpu"],
        ["--preset", "gpu", "--epochs", "7"],
        ["--preset=gpu", "--epochs=7"],
    ):
        expected = TrainSettings(preset="gpu", epochs=7, device="cpu")
        assert train(project, *arguments, "--device", "cpu") == expected


def test_every_kind_of_value(project):
    found = train(
        project, "--preset", "cpu", "--prepared", "a b", "--learning-rate", "1e-5",
        "--loss", "iou+l1", "--widths", "4", "8", "16", "--weights", "imagenet",
    )  # fmt: skip
    assert found.prepared == Path("a b") and found.learning_rate == 1e-5
    assert (found.loss, found.widths, found.weights) == ("iou+l1", (4, 8, 16), "imagenet")


def test_every_script_has_its_own(project):
    assert parse(project, "prepare", "", ["--preset", "demo", "--overwrite"]) == SharedPrepare(
        preset="demo", folds=2, overwrite=True
    )
    found = parse(project, "evaluate", "", ["--split", "validation"])
    assert found == SharedEvaluate(preset="cpu", pictures=3, split="validation")


def test_the_command_line_is_that_of_the_process(project, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["train.py", "--preset", "gpu", "--device", "cpu", "--seed", "3"]
    )
    assert parse(project, "train", "").seed == 3


def test_without_data_it_is_the_sample(project):
    assert parse(project, "prepare", "", []).preset == "demo"
    assert train(project).preset == "demo"
    assert train(project, "--preset", "auto").preset == "demo"
    assert train(project).epochs == 2


def test_with_data_it_is_what_the_machine_can(project, monkeypatch):
    project.raw.mkdir()
    assert parse(project, "prepare", "", []).preset == "cpu"
    assert train(project).preset == "cpu"
    monkeypatch.setattr(command_line, "has_gpu", lambda: True)
    assert parse(project, "prepare", "", []).preset == "gpu"
    assert train(project).epochs == 4
    assert parse(project, "evaluate", "", []).preset == "gpu"


@pytest.mark.damaged
@pytest.mark.parametrize("kind", ["evaluate", "predict"])
def test_a_run_is_evaluated_with_the_preset_that_trained_it(project, tmp_path, kind):
    def run(folder, content):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(content)
        (folder / "fitted.json").write_text("{}")

    def pictures(*arguments):
        found = parse(project, kind, "", list(arguments))
        return found.pictures

    run(tmp_path / "runs" / "newest", '{"settings": {"preset": "demo"}}')
    run(tmp_path / "card", '{"settings": {"preset": "gpu"}}')
    run(tmp_path / "odd", '{"settings": {"preset": ["unknown"]}}')
    run(tmp_path / "cut", '{"settings": ')
    assert pictures() == 2
    assert pictures("--run", str(tmp_path / "card")) == 4
    assert pictures(f"--run={tmp_path / 'card'}", "--preset", "demo") == 2
    for unknown in ("odd", "cut", "absent"):
        assert pictures("--run", str(tmp_path / unknown)) == 3


def test_a_source_that_is_given_is_data(project):
    assert parse(project, "prepare", "", ["--source", "x"]).preset == "cpu"
    assert parse(project, "prepare", "", ["--source=x"]).preset == "cpu"


def test_data_that_was_prepared_decides_for_training(project, tmp_path):
    manifest(tmp_path / "a", synthetic=True)
    manifest(tmp_path / "b", synthetic=False)
    assert train(project, "--prepared", str(tmp_path / "a")).preset == "demo"
    assert train(project, "--prepared", str(tmp_path / "b")).preset == "cpu"
    assert train(project, "--prepared", str(tmp_path / "none")).preset == "cpu"
    manifest(project.prepared(False), synthetic=False)
    assert train(project).preset == "cpu"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epoch", "3"], "--epoch"),
        (["--epochs", "many"], "many"),
        (["--loss", "l2"], "l2"),
        (["--preset", "fast"], "fast"),
        (["here"], "here"),
        (["--epochs"], "--epochs"),
    ],
)
def test_what_cannot_be_taken_is_one_line(project, arguments, said, capsys):
    with pytest.raises(UserError) as caught:
        train(project, *arguments)
    message = str(caught.value)
    assert said in message and message.endswith("; --help-all shows every setting")
    assert "\n" not in message and not set("╭╮╰╯│─") & set(message)
    assert len(message) < 250
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("train", ["--epochs", "0"], "--epochs must be 1 or more. Received: 0"),
        ("train", ["--learning-rate", "0"], "--learning-rate must be above 0. Received: 0.0"),
        ("train", ["--image-size", "31"], "--image-size must be 0, or 32 to 4096. Received: 31"),
        ("train", ["--image-size", "4097"], "--image-size must be 0, or 32 to 4096."),
        (
            "train",
            ["--tensorboard-images", "-1"],
            "--tensorboard-images must be 0 or more. Received: -1",
        ),
        ("train", ["--fold", "-1"], "--fold must be 0 or more. Received: -1"),
        ("train", ["--warmup-share", "1"], "--warmup-share must be 0 or more and below 1"),
        ("prepare", ["--test-share", "1.0"], "--test-share must be 0 or more and below 1"),
        ("prepare", ["--folds", "1"], "--folds must be 0, or 2 and more. Received: 1"),
        (
            "prepare",
            ["--test-share", "0.6", "--validation-share", "0.4"],
            "--validation-share must be such that validation and test leave a share",
        ),
        ("evaluate", ["--name", "../x"], "--name must be letters, digits"),
        ("evaluate", ["--name", ".."], "--name must be letters, digits"),
        ("evaluate", ["--pictures", "-1"], "--pictures must be 0 or more. Received: -1"),
    ],
)
def test_what_makes_no_sense_is_refused(project, kind, arguments, said):
    with pytest.raises(UserError) as caught:
        parse(project, kind, "", arguments)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", ["pneumonia_classification", "heart_detection"])
def test_a_side_that_no_memory_holds_is_refused(name):
    project = importlib.import_module(f"{name}.config").PROJECT
    for side in ("0", "99999"):
        with pytest.raises(UserError, match="--image-size must be 1 to 4096"):
            parse(project, "prepare", "", ["--image-size", side])


@pytest.mark.parametrize(
    ("arguments", "field", "value", "notice"),
    [
        (["--averaging", "0.9"], "ema_momentum", 0.9, "--averaging is now --ema-momentum"),
        (["--averaging=0.9"], "ema_momentum", 0.9, "--averaging is now --ema-momentum"),
        (
            ["--board_pictures", "3"],
            "tensorboard_images",
            3,
            "--board-pictures is now --tensorboard-images",
        ),
        (["--no-mixed"], "shuffle", False, "--no-mixed is now --no-shuffle"),
        (["--ema-momentum", "0.9"], "ema_momentum", 0.9, ""),
    ],
)
def test_a_renamed_setting_is_taken_under_its_old_flag(
    project, arguments, field, value, notice, capsys
):
    assert getattr(train(project, *arguments), field) == value
    assert capsys.readouterr().out == (f"{notice}\n" if notice else "")


def test_stored_settings_are_read_by_their_names_of_today():
    stored = {"averaging": 0.9, "mixed": False, "epochs": 3, "gone": 1}
    expected = {"ema_momentum": 0.9, "shuffle": False, "epochs": 3, "gone": 1}
    assert current_names(TrainSettings, stored) == expected
    assert current_names(TrainSettings, expected) == expected
    first = first_names(TrainSettings(ema_momentum=0.9, shuffle=False))
    assert (first["averaging"], first["mixed"], first["epochs"]) == (0.9, False, 30)
    assert "ema_momentum" not in first and "shuffle" not in first


def test_ends_of_ranges_are_taken(project):
    found = parse(project, "prepare", "", ["--test-share", "0", "--validation-share", "0"])
    assert (found.test_share, found.validation_share) == (0, 0)
    assert parse(project, "evaluate", "", ["--name", "a.b-2_C"]).name == "a.b-2_C"


@pytest.mark.parametrize("kind", ["prepare", "train", "evaluate"])
@pytest.mark.parametrize("flag", ["--help", "-h", "--help-all"])
def test_help_names_the_usual_settings_and_on_demand_every_one(project, kind, flag, capsys):
    with pytest.raises(SystemExit) as leaving:
        parse(project, kind, "What it does.", [flag])
    assert leaving.value.code in (0, None)
    printed = capsys.readouterr().out
    assert printed.startswith("What it does.")
    usual = {name for names in GROUPS.values() for name in names}
    for field in fields(getattr(project.presets["cpu"], kind)):
        is_there = re.search(f"^  --{field.name.replace('_', '-')}\\b", printed, re.MULTILINE)
        assert bool(is_there) == (flag == "--help-all" or field.name in usual), field.name
    for name, preset in project.presets.items():
        assert f"--preset {name}: {preset.about}" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 100
    if flag == "--help-all" and kind == "train":
        words = " ".join(printed.split())
        assert "What is made small, told in" in words and "(default: 2022)" in words
        assert "--shuffle, --no-shuffle" in words


@pytest.mark.parametrize("project", PROJECTS)
def test_the_help_of_every_script_fits_a_screen_or_two(project, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    theirs = importlib.import_module(f"{project}.config").PROJECT
    for kind in ("prepare", "train", "evaluate", "predict"):
        with pytest.raises(SystemExit):
            parse(theirs, kind, "What it does.", ["--help"])
        assert len(capsys.readouterr().out.splitlines()) <= 66, kind


@pytest.mark.damaged
def test_the_newest_run_that_ended(project):
    with pytest.raises(UserError, match="there is no run that ended"):
        newest_run(project)
    for age, name in enumerate(("c", "a", "b")):
        (project.runs / name).mkdir(parents=True)
        (project.runs / name / "fitted.json").touch()
        os.utime(project.runs / name / "fitted.json", (1000 - age, 1000 - age))
    (project.runs / "z").mkdir()
    assert newest_run(project) == project.runs / "c"


def test_places_by_default():
    found = Project("heart_detection", "rsna", "sample", {})
    root = Path(__file__).resolve().parents[2]
    assert found.raw == root / "data" / "raw" / "rsna"
    assert found.prepared(True) == root / "data" / "prepared" / "SYNTHETIC-heart_detection"
    assert found.prepared(False) == root / "data" / "prepared" / "heart_detection"
    assert found.runs == root / "runs" / "heart_detection"


def predict(project, *arguments):
    return parse(project, "predict", "Predict.", list(arguments))


def test_inputs_stand_without_a_flag(project):
    for arguments in (
        ["a.dcm", "b", "--run", "r", "--output", "o"],
        ["--run", "r", "a.dcm", "b", "--output", "o"],
        ["--run", "r", "--output", "o", "a.dcm", "b"],
    ):
        assert predict(project, *arguments) == SharedPredict(
            preset="cpu", inputs=(Path("a.dcm"), Path("b")), run=Path("r"), output=Path("o"),
            pictures=3,
        )  # fmt: skip
    assert predict(project).inputs == ()
