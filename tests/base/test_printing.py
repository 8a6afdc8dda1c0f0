"""What a script prints first and last."""

import io
from dataclasses import fields
from pathlib import Path

import pytest

from common.base.printing import as_printed, counted, print_paths, print_settings
from common.base.project import Preset, Project
from common.base.settings import SharedEvaluate, SharedPredict, SharedPrepare, SharedTrain

PRESETS = {
    "cpu": Preset("", SharedPrepare(), SharedTrain(epochs=3), SharedEvaluate(), SharedPredict())
}
PROJECT = Project("heart_detection", "rsna", "sample", PRESETS)


def test_what_differs_from_the_preset_is_shown_and_on_demand_all(capsys, monkeypatch):
    settings = SharedTrain(preset="cpu", epochs=9, run=Path("a b"))
    print_settings("Train a network", settings, PROJECT)
    assert capsys.readouterr().out == ("\nTrain a network\n  --preset cpu, --run a b, --epochs 9\n")
    monkeypatch.setattr("sys.argv", ["train.py", "--verbose"])
    print_settings("Train a network", settings, PROJECT)
    lines = capsys.readouterr().out.splitlines()
    values = dict(line.split(maxsplit=1) for line in lines[2:] if len(line.split()) > 1)
    assert values["epochs"] == "9" and values["weights"] == "none"
    assert len(lines) == 2 + len(fields(SharedTrain))


def test_of_thousands_of_inputs_the_first_are_shown(capsys):
    settings = SharedPredict(inputs=tuple(Path(f"{number}.dcm") for number in range(3000)))
    print_settings("Predict", settings, PROJECT)
    printed = capsys.readouterr().out
    assert "0.dcm 1.dcm 2.dcm 3.dcm and 2996 more" in printed and "4.dcm" not in printed


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "Unauff\xe4llig \u4e2d \\x1b[1m\\n"),
        ("cp1252", "Unauff\xe4llig \\u4e2d \\x1b[1m\\n"),
        ("ascii", "Unauff\\xe4llig \\u4e2d \\x1b[1m\\n"),
    ],
)
def test_a_name_has_the_letters_that_the_terminal_has(monkeypatch, encoding, expected):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", terminal)
    assert as_printed("Unauff\xe4llig \u4e2d \x1b[1m\n") == expected


def test_what_was_written_is_shown_shortly(tmp_path, capsys):
    few = [tmp_path / "a.csv", tmp_path / "b.csv"]
    many = [tmp_path / "png" / f"{number}.png" for number in range(9)]
    print_paths([*few, *many])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [f"  {few[0]}", f"  {few[1]}", f"  {tmp_path}/png/ (9 files)"]
    assert (counted(0, "file"), counted(1, "file")) == ("0 files", "1 file")
