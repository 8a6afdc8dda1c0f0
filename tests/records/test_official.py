"""The split that a dataset comes with."""

import shutil

import pandas as pd
import pytest

from common.datasets.class_folders import OFFICIAL
from common.records.official import absent_classes, official_split
from pneumonia_classification.config import PrepareSettings
from pneumonia_classification.dataset import prepare
from tests.helpers.film_folders import film, kaggle

SETTINGS = PrepareSettings(preset="cpu", validation_share=0.25, test_share=0.25)


def cases(**counts):
    """So many cases of each split, two of a patient, one after the other."""
    splits = [name for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame(
        {
            "case": [f"c{n}" for n in range(len(splits))],
            "patient": [f"p{n // 2}" for n in range(len(splits))],
            "label": [n % 2 for n in range(len(splits))],
            OFFICIAL: ["" if name == "none" else name for name in splits],
        }
    )


def dealt(table, settings=SETTINGS):
    return official_split(table, table["label"].astype(str), settings)


def test_a_whole_split_is_taken_as_it_is():
    table = cases(train=8, validation=2, test=4, none=2)
    assert list(dealt(table)) == list(table[OFFICIAL])


def test_what_a_split_lacks_is_dealt_from_its_training_by_patient():
    table = cases(train=24, test=4)
    table["duplicate_of"] = ""
    table.loc[0, "duplicate_of"] = "c24"  # of a case that is in test
    splits = dealt(table)
    assert splits.value_counts().to_dict() == {"train": 18, "validation": 6, "test": 4}
    assert list(splits[24:]) == ["test"] * 4
    assert not (table.assign(split=splits).groupby("patient")["split"].nunique() > 1).any()
    splits = dealt(cases(train=24, validation=2))
    assert splits.value_counts().to_dict() == {"train": 18, "test": 6, "validation": 2}


def test_folds_leave_the_official_test_split():
    table = cases(train=20, validation=4, test=4)
    splits = dealt(table, PrepareSettings(preset="cpu", folds=3))
    assert splits.value_counts().to_dict() == {"fold-0": 8, "fold-1": 8, "fold-2": 8, "test": 4}


@pytest.mark.parametrize("own", [False, True])
def test_a_child_on_two_sides_is_said_and_a_split_of_our_own_has_none(tmp_path, own, capsys):
    kaggle(tmp_path / "data")
    film(tmp_path / "data" / "test" / "PNEUMONIA" / "person1_virus_99.jpeg", 99)
    settings = PrepareSettings(
        preset="cpu", source=tmp_path / "data", prepared=tmp_path / "p", image_size=16, copies=0,
        workers=1, own_split=own,
    )  # fmt: skip
    prepare(settings)
    table = pd.read_csv(tmp_path / "p" / "cases.csv").set_index("case")
    said = capsys.readouterr().out
    one = "1 patients are on two sides of the dataset's own split, so scores on them are"
    assert (one in said) != own
    assert (table.loc["person1_virus_99", "split"] == table.loc["person1_bacteria_1", "split"]) or (
        not own
    )
    assert ("split: the dataset's own (7 train, 7 validation, 8 test)" in said) != own
    if not own:
        assert list(table["split"]) == list(table[OFFICIAL])
        assert "patient on two sides" in (tmp_path / "p" / "findings.csv").read_text()


@pytest.mark.parametrize(
    ("move", "details", "check"),
    [
        (("test/NORMAL", ""), ["test has no NORMAL"], False),
        (("val/PNEUMONIA", ""), ["validation has no PNEUMONIA"], True),
        (("test/NORMAL", "test/HEALTHY"),
         ["test has no NORMAL", "train has no HEALTHY", "validation has no HEALTHY"], True),
    ],
)  # fmt: skip
def test_a_class_that_a_split_lacks_is_a_finding(tmp_path, move, details, check, capsys):
    data = kaggle(tmp_path / "data")
    here, there = move
    shutil.move(data / here, data / there if there else tmp_path / "away")
    settings = PrepareSettings(
        preset="cpu", source=data, prepared=tmp_path / "p", image_size=16, copies=0, workers=1,
        check=check,
    )  # fmt: skip
    prepare(settings)
    findings = pd.read_csv(tmp_path / "p" / "findings.csv")
    kept = findings[findings["check"] == "class not in a split"]
    assert list(kept["found"]) == [f"{text} in the dataset's own split" for text in details]
    printed = capsys.readouterr().out
    assert f"class not in a split        {len(details)}      kept" in printed
    assert f"CLASS NOT IN A SPLIT: of the dataset's own split {'; '.join(details)}: " in printed


def test_a_whole_split_has_no_such_finding(tmp_path):
    settings = PrepareSettings(
        preset="cpu", source=kaggle(tmp_path / "data"), prepared=tmp_path / "p", image_size=16,
        copies=0, workers=1, check=True,
    )  # fmt: skip
    prepare(settings)
    assert "class not" not in (tmp_path / "p" / "findings.csv").read_text()


@pytest.mark.parametrize("more", [{"validation_share": 0.2, "test_share": 0.2}, {"folds": 4}])
def test_a_class_that_a_dealt_split_lacks_is_a_finding(tmp_path, more, capsys):
    data = kaggle(tmp_path / "data")
    for number in range(2):
        film(data / "train" / "SCOLIOSIS" / f"person{900 + number}_1.jpeg", 200 + number)
    settings = PrepareSettings(
        preset="cpu", source=data, prepared=tmp_path / "p", image_size=16, copies=0, workers=1,
        own_split=True, **more,
    )  # fmt: skip
    prepare(settings)
    table, printed = pd.read_csv(tmp_path / "p" / "cases.csv"), capsys.readouterr().out
    there = table[table["label"] == 2]["split"]
    lacking = sorted({*table["split"]} - {*there})
    findings = pd.read_csv(tmp_path / "p" / "findings.csv")
    kept = findings[findings["check"] == "class not in a split"]
    assert lacking
    assert {f"{split} has no SCOLIOSIS in the dealt split" for split in lacking} <= {*kept["found"]}
    assert f"class not in a split        {len(kept)}      kept" in printed
    assert "are its patients too few for all splits?" in printed


def test_of_labels_that_come_together_each_is_looked_for():
    table = pd.DataFrame({"label": ["A|B", "A", "", "B"], "split": ["train", "train", "test", ""]})
    table.attrs |= {"classes": ["A", "B", "C"], "exclusive": False}
    assert absent_classes(table) == {"test": ["A", "B"]}
    assert absent_classes(table.assign(split=["train", "test", "train", "test"])) == {}


@pytest.mark.parametrize(
    ("names", "positive", "line"),
    [
        (("Lungenentz\xfcndung", "Unauff\xe4llig"), "",
         "  positive: Unauff\xe4llig, the second by its name, since neither is called normal; "
         "--positive-class 'Lungenentz\xfcndung' takes the other"),
        (("Lungenentz\xfcndung", "Unauff\xe4llig"), "Lungenentz\xfcndung", ""),
        (("NORMAL", "PNEUMONIA"), "", ""),
    ],
)  # fmt: skip
def test_the_positive_class_is_printed_where_no_name_says_it(
    tmp_path, capsys, names, positive, line
):
    for number in range(12):
        film(tmp_path / "data" / names[number % len(names)] / f"{number}.png", number)
    settings = PrepareSettings(
        preset="cpu", source=tmp_path / "data", prepared=tmp_path / "p", image_size=16, copies=0,
        workers=1, check=True, positive_class=positive,
    )  # fmt: skip
    prepare(settings)
    printed = capsys.readouterr().out
    if line:
        assert f"\n{line}\n" in printed
    assert ("  positive: " in printed) == bool(line)
    classes = sorted(names, key=positive.__eq__)
    assert f"layout: folders by class; classes: {', '.join(classes)}\n" in printed
