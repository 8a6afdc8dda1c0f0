"""What a script prints first and last."""

from dataclasses import fields
from pathlib import Path

from common.base.printing import print_paths, print_settings
from common.base.settings import SharedPredict, SharedTrain


def test_what_is_about_to_be_done_is_shown(capsys):
    print_settings("Train a network", SharedTrain(epochs=9))
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "Train a network"
    values = dict(line.split(maxsplit=1) for line in said[2:] if len(line.split()) > 1)
    assert values["epochs"] == "9" and values["weights"] == "none"
    assert len(said) == 2 + len(fields(SharedTrain))


def test_of_thousands_of_inputs_the_first_are_shown(capsys):
    settings = SharedPredict(inputs=tuple(Path(f"{number}.dcm") for number in range(3000)))
    print_settings("Predict", settings)
    said = capsys.readouterr().out
    assert "0.dcm 1.dcm 2.dcm 3.dcm and 2996 more" in said and "4.dcm" not in said


def test_what_was_written_is_shown_shortly(tmp_path, capsys):
    few = [tmp_path / "a.csv", tmp_path / "b.csv"]
    many = [tmp_path / "png" / f"{number}.png" for number in range(9)]
    print_paths([*few, *many])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [f"  {few[0]}", f"  {few[1]}", f"  {tmp_path}/png/ (9 files)"]
