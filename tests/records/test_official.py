"""The split that a dataset comes with."""

import pandas as pd
import pytest

from common.datasets.class_folders import OFFICIAL
from common.records.official import official_split
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
