"""A shortcut that is planted in the SYNTHETIC sample is found by its name, and no other is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from common.base.errors import UserError
from common.base.settings import SharedPrepare
from common.datasets.rsna import index_pneumonia
from common.imaging.acquisition import GROUPS, as_table
from common.imaging.dicom import read_radiograph
from common.records.shifted import split_by
from common.records.stored_images import film_statistics
from common.scores.shortcuts import find_shortcuts
from tests.helpers.fixtures import jpeg_bytes, quiet
from tests.helpers.scripts import TINY_DATA, run

PROJECT = "pneumonia_classification"


@pytest.fixture(scope="module")
def cases(samples):
    """The cases of the sample, all of them usable."""
    return index_pneumonia(samples[PROJECT]).assign(duplicate_of="")


def tabulate(source, cases):
    texts = {
        case.case: film_statistics(source / case.path)["acquisition"] for case in cases.itertuples()
    }
    return as_table(texts.items())


@quiet()
def store(path, pixels, quality):
    """Put a picture in place of a film's, as JPEG."""
    film = pydicom.dcmread(path)
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.PhotometricInterpretation = "MONOCHROME2"
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit = 7
    for name in ("RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"):
        if name in film:
            del film[name]
    film.PixelData = encapsulate([jpeg_bytes(pixels, quality=quality)])
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    film.save_as(path)


def plant(source, folder, how):
    """The sample whose positives were stored at another quality, or have brighter corners."""
    shutil.copytree(source, folder)
    for case in index_pneumonia(source).itertuples():
        pixels = read_radiograph(folder / case.path).pixels.copy()
        if how == "corners" and case.label:
            side = min(pixels.shape) // 10
            for rows in (slice(None, side), slice(-side, None)):
                pixels[rows, :side] = pixels[rows, :side] // 2 + 120
        store(folder / case.path, pixels, 60 if how == "quality" and case.label else 92)
    return folder


def test_what_is_planted_is_named(samples, tmp_path):
    source = plant(samples[PROJECT], tmp_path / "source", "quality")
    printed = run(
        PROJECT, "prepare_data", "--check", "--source", source, "--prepared", tmp_path / "prepared",
        *TINY_DATA[PROJECT],
    )  # fmt: skip
    (sentence,) = [line for line in printed.splitlines() if "images were taken alone: " in line]
    assert sentence.strip().startswith("The label can be read from ")
    assert all(name in sentence for name in ("sharpness and noise (", "the file ("))
    table = printed.partition("shortcuts: ")[2]
    assert all(title in table for title in GROUPS.values())


def test_another_one_has_another_name(samples, tmp_path):
    source = plant(samples[PROJECT], tmp_path / "source", "corners")
    cases = index_pneumonia(source)
    found = find_shortcuts(tabulate(source, cases), cases, seed=0)
    assert "frame" in found["readable"] and "file" not in found["readable"]


def test_labels_that_were_shuffled_are_read_from_nothing(samples, cases):
    statistics = tabulate(samples[PROJECT], cases)
    for seed in range(4):
        labels = np.random.default_rng(seed).permutation(cases["label"].to_numpy())
        found = find_shortcuts(statistics, cases.assign(label=labels), seed)
        assert found["readable"] == [] and found["groups"]


def test_they_are_kept_with_the_data_and_with_its_scores(whole):
    once = whole(PROJECT)
    manifest = json.loads((once.prepared / "manifest.json").read_text())
    assert manifest["shortcuts"]["groups"].keys() == {*GROUPS, "all"}
    table = pd.read_csv(once.prepared / "acquisition.csv")
    cases = pd.read_csv(once.prepared / "cases.csv", keep_default_na=False).query("left_out == ''")
    assert sorted(table["case"]) == sorted(cases["case"])
    assert manifest["shortcuts"]["n"] == len(cases)
    expected = tabulate(once.sample, cases)
    numbers = expected.select_dtypes("number").columns
    found = table.set_index("case").loc[expected.index, numbers].rename_axis(None)
    pd.testing.assert_frame_equal(found.astype(float), expected[numbers].astype(float))
    assert "acquisition" not in (once.prepared / "cohort.csv").read_text()

    assert once.metrics["shortcuts"] == manifest["shortcuts"]
    for script in ("prepare", "evaluate"):
        assert f"the label of all {len(cases)} images" in once.said[script]
    page = (once.evaluation / "report.html").read_text()
    assert "Does this hold elsewhere?" in page and "never tried on another source" in page


# ---- A split that shows it: --split-by


def prepare(source, folder, by):
    return run(
        PROJECT, "prepare_data", "--source", source, "--prepared", folder, "--split-by", by,
        "--validation-share", 0.2, "--test-share", 0.3, *TINY_DATA[PROJECT],
    )  # fmt: skip


@pytest.mark.slow
def test_the_films_that_belie_a_planted_shortcut_do_not_train(samples, tmp_path):
    source = plant(samples[PROJECT], tmp_path / "source", "quality")
    printed = prepare(source, tmp_path / "prepared", "shortcut")
    assert "most like the other label in " in printed and "validation shifted" in printed
    cases = pd.read_csv(tmp_path / "prepared" / "cases.csv", keep_default_na=False)
    assert set(cases["part"]) == {"", "random", "shifted"}
    assert ((cases["part"] == "") == (cases["split"] == "train")).all()
    assert (cases.groupby("patient")["split"].nunique() == 1).all()
    labels = cases[cases["part"] == "shifted"].drop_duplicates("patient")["label"]
    assert 0 < labels.mean() < 1
    manifest = json.loads((tmp_path / "prepared" / "manifest.json").read_text())
    assert manifest["settings"]["split_by"] == "shortcut"


def deal(samples, cases, by):
    settings = SharedPrepare(split_by=by)
    strata = cases["label"].astype(str)
    return split_by(cases, strata, settings, samples[PROJECT], ["label"], None)


@pytest.mark.parametrize("by", ["view", "PatientSex"])
def test_a_value_that_is_shifted_does_not_train(samples, cases, by, capsys):
    dealt = deal(samples, cases, by)
    assert f"1 of 2 values of {by}, which do not train" in capsys.readouterr().out
    values = cases["view" if by == "view" else "sex"]
    (shifted,) = set(values[dealt["part"] == "shifted"])
    assert shifted not in set(values[dealt["split"] == "train"])
    assert shifted not in set(values[dealt["part"] == "random"])


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("hospital", "is none of patient, shortcut, a keyword of DICOM, or a column of the cases"),
        ("label", "is what is to be learned"),
        ("case", "has 60 values for 37 patients; name what has two at least"),
        ("Modality", "has 1 values for 37 patients"),
        ("shortcut", "needs films with a label; name a column"),
    ],
)
def test_what_cannot_be_split_by_is_refused(samples, cases, by, message):
    with pytest.raises(UserError, match=f"--split-by {by}: {message}"):
        deal(samples, cases, by)


@pytest.mark.parametrize("given", [{"folds": 3}, {"split_from": Path("a.csv")}])
def test_parts_are_of_one_split_that_is_dealt_here(given):
    with pytest.raises(UserError, match="--split-by must be patient with --folds, with"):
        SharedPrepare(split_by="view", **given)


def test_random_and_shifted_stand_side_by_side():
    from common.scores.groups import scores_by_group
    from pneumonia_classification.score_tables import GROUPS

    assert next(iter(GROUPS.items())) == ("per_part", "part")
    parts = np.repeat(["random", "shifted", ""], 20)
    labels = np.tile([0, 1], 30)
    scores = scores_by_group(parts, lambda rows: {"n": int(rows.sum()), "positives": labels[rows]})
    assert list(scores) == ["random", "shifted"] and scores["shifted"]["n"] == 20


def test_a_split_by_patient_has_the_key_of_before_there_was_another():
    from common.records.preparing import settings_of_data
    from pneumonia_classification.config import PrepareSettings

    assert "split_by" not in settings_of_data(PrepareSettings())
    assert settings_of_data(PrepareSettings(split_by="view"))["split_by"] == "view"
