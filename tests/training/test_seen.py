"""What a run has seen: written where it trains, found again where it is scored."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from common.base.errors import UserError
from common.base.settings import NO_RUN, SharedTrain
from common.datasets.splits import training_splits
from common.imaging.fingerprints import fingerprint
from common.records.prepared import Prepared
from common.training import seen
from common.training.runs import Run

RNG = np.random.default_rng(4)


def draw():
    """A film that is smooth, as bodies are."""
    return ndimage.gaussian_filter(RNG.normal(size=(64, 64)), 5)


FILMS = {f"c{number}": draw() for number in range(12)}
SPLITS = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3


def prepared_in(folder, films, splits, patients=None, **manifest):
    """A prepared folder of these films, each of a patient of its own."""
    folder.mkdir(parents=True)
    table = pd.DataFrame({"case": list(films), "split": splits, "left_out": ""})
    table["patient"] = table["patient_hash"] = patients or [f"of {folder.name} {c}" for c in films]
    prints = [fingerprint(film) for film in films.values()]
    for name in ("sha256", "perceptual"):
        table[name] = [row[name] for row in prints]
    table.to_csv(folder / "cases.csv", index=False)
    settings = {"dataset": "films", "synthetic": False, "key": "k", "split_warning": ""}
    shards = {split: [] for split in splits}
    return Prepared(folder, {**settings, "shards": shards, **manifest})


def run_on(folder, prepared, weights="none", **trained):
    folder.mkdir(parents=True)
    trained = {"weights": str(weights), "fold": 0, "nested": False, **trained}
    train, validation = training_splits(prepared.splits, trained["fold"], trained["nested"])
    seen.write_seen(folder, prepared, train, validation, str(weights))
    return Run(folder, {"settings": trained, "prepared": str(prepared.folder)}, {})


@pytest.fixture
def trained(tmp_path):
    """A run and what it was trained on."""
    prepared = prepared_in(tmp_path / "own", FILMS, SPLITS)
    return run_on(tmp_path / "run", prepared), prepared


def score(run, prepared, splits=("test",), score_seen=False, folder=None):
    folder = folder or prepared.folder
    cases, found = seen.cases_to_score([run], prepared, list(splits), "x", score_seen, folder)
    return list(cases["case"]), found


def test_its_own_test_split_is_new(trained, capsys):
    assert score(*trained) == (
        ["c9", "c10", "c11"],
        {
            "checked": True, "by_patient": True, "count": {}, "scored": False, "validated": False
        },
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "SEEN" not in printed
    assert "seen in training, by pixels and by patient: 0 of 3; 3 cases are scored" in printed
    assert not (trained[1].folder / seen.OVERLAP).exists()


def test_what_trained_it_is_left_out_and_named(trained, tmp_path, capsys):
    run, _ = trained
    same = prepared_in(tmp_path / "same", FILMS, ["test"] * 12)
    kept, found = score(run, same)
    assert kept == ["c9", "c10", "c11"]
    assert found["checked"] and found["count"] == {"same pixels": 9} and not found["scored"]
    table = pd.read_csv(same.folder / seen.OVERLAP)
    assert table["seen_as"].tolist() == table["case"].tolist() == [f"c{n}" for n in range(9)]
    assert table["role"].tolist() == ["train"] * 6 + ["validation"] * 3
    said = capsys.readouterr().out
    assert "of 12 cases 9 have the same pixels (train of the run, validation of the run)" in said
    assert "by pixels alone: 9 of 12; 3 cases are scored" in said
    kept, found = score(run, same, score_seen=True)
    assert len(kept) == 12 and found["scored"]


def test_a_resized_copy_is_a_near_duplicate(trained, tmp_path):
    half = {f"half {name}": film.reshape(32, 2, 32, 2).mean((1, 3)) for name, film in FILMS.items()}
    _, found = score(trained[0], prepared_in(tmp_path / "half", half, ["test"] * 12))
    assert found["count"] == {"near duplicate": 9}


def test_other_films_of_its_patients(trained, tmp_path):
    new = {name: draw() for name in ("a", "b")}
    of_one = prepared_in(tmp_path / "new", new, ["test"] * 2, ["of own c3", "nobody"])
    kept, found = score(trained[0], of_one)
    assert kept == ["b"] and found["count"] == {"same patient": 1}
    unknown = prepared_in(tmp_path / "unknown", new, ["test"] * 2, ["", ""])
    assert score(trained[0], unknown)[1]["count"] == {}, "nobody is everybody's patient"


def test_other_films_of_a_patient_who_was_seen_under_another_number(trained, tmp_path, capsys):
    films = {"copy 1": FILMS["c1"], "copy 2": FILMS["c2"], "copy 10": FILMS["c10"]}
    films |= {name: draw() for name in ("of 1", "of 2", "of 10", "free")}
    numbers = ["anon 1", "anon 2", "anon 10", "anon 1", "anon 2", "anon 10", "anon 9"]
    anonymised = prepared_in(tmp_path / "anonymised", films, ["test"] * 7, numbers)
    kept, found = score(trained[0], anonymised)
    assert kept == ["copy 10", "of 10", "free"]
    assert found["count"] == {"same pixels": 2, "same patient": 2}
    assert found["checked"] and not found["by_patient"]
    assert "patients cannot be compared" in capsys.readouterr().out
    table = pd.read_csv(anonymised.folder / seen.OVERLAP).set_index("case")
    assert table.loc["of 2", "seen_as"] == "c2"


@pytest.mark.parametrize("place", ["", "model.keras", "unet/model.keras"])
def test_what_trained_the_run_that_it_started_from(trained, tmp_path, place, capsys):
    start, _ = trained
    (start.folder / "unet").mkdir()
    (start.folder / place).touch() if place else None
    others = {name: draw() for name in "abc"}
    second = prepared_in(tmp_path / "second", others, ["train", "validation", "test"])
    run = run_on(tmp_path / "run 2", second, start.folder / place)
    third = run_on(tmp_path / "run 3", second, run.folder)
    for later in (run, third):
        same = prepared_in(tmp_path / f"of {later.folder.name}", FILMS, ["test"] * 12)
        assert score(later, same)[1]["count"] == {"same pixels": 9}
        assert set(pd.read_csv(same.folder / seen.OVERLAP)["run"]) == {"run"}
        assert "(train of run, validation of run)" in capsys.readouterr().out


def test_of_the_validation_split_it_counts_what_trained(trained, tmp_path):
    run, prepared = trained
    _, found = score(run, prepared, ["validation"])
    assert found["count"] == {} and found["validated"]
    later = run_on(tmp_path / "later", prepared, run.folder)
    with pytest.raises(UserError, match="has seen every case in training or validation"):
        score(later, prepared, ["validation"])


def test_a_fold_that_is_left_out_counts_what_validated_too(tmp_path):
    films = {**FILMS, "again": FILMS["c4"]}
    splits = [f"fold-{number % 3}" for number in range(12)] + ["fold-0"]
    prepared = prepared_in(tmp_path / "own", films, splits)
    # Fold 1 validates, and holds c4; "again", in fold 0, has its pixels.
    run = run_on(tmp_path / "run", prepared, fold=0, nested=True)
    names, found = score(run, prepared, ["fold-0"])
    assert names == ["c0", "c3", "c6", "c9"]
    assert found["count"] == {"same pixels": 1} and not found["validated"]
    _, of_validation = score(run, prepared, ["fold-1"])
    assert of_validation["validated"]


def test_weights_of_unknown_origin_are_no_check(tmp_path, capsys):
    prepared = prepared_in(tmp_path / "own", FILMS, SPLITS)
    run = run_on(tmp_path / "run", prepared, tmp_path / "found.weights.h5")
    assert not score(run, prepared)[1]["checked"]
    others = prepared_in(
        tmp_path / "others", {c: draw() for c in "abc"}, ["train", "validation", "test"]
    )
    later = run_on(tmp_path / "later", others, run.folder)
    assert not score(later, others)[1]["checked"], "nor for a run that started from that one"
    assert (
        "what found.weights.h5, its starting weights, has seen is not known"
        in capsys.readouterr().out
    )


def test_a_run_on_data_of_an_earlier_version_is_no_check_either(trained, tmp_path, capsys):
    old, _ = trained
    table = pd.read_csv(old.folder / seen.FILE, dtype=str, keep_default_na=False)
    table.assign(sha256="", perceptual="").to_csv(old.folder / seen.FILE, index=False)
    others = prepared_in(
        tmp_path / "others", {c: draw() for c in "abc"}, ["train", "validation", "test"]
    )
    later = run_on(tmp_path / "later", others, old.folder)
    assert not score(later, others)[1]["checked"]
    assert "what run, its starting weights, has seen is not known" in capsys.readouterr().out


def test_patients_are_compared_where_all_are_known(trained, tmp_path):
    new = {name: draw() for name in "abcdef"}
    warning = {"split_warning": "patients unknown", "patients_known": False}
    unknown = prepared_in(tmp_path / "unknown", new, SPLITS[4:10], **warning)
    run = run_on(tmp_path / "on unknown", unknown)
    later = run_on(tmp_path / "later", trained[1], run.folder)
    for each in (run, later):
        found = score(each, trained[1], folder=tmp_path)[1]
        assert found["checked"] and not found["by_patient"]
    assert not score(trained[0], unknown)[1]["by_patient"]


def test_patients_of_another_key_cannot_be_compared_whichever_run_they_trained(tmp_path, capsys):
    new, later = ({name: draw() for name in "abcdef"} for _ in range(2))
    first = prepared_in(tmp_path / "first", FILMS, SPLITS, patients_key="K1")
    second = prepared_in(tmp_path / "second", new, SPLITS[4:10], patients_key="K2")
    third = prepared_in(tmp_path / "third", later, ["test"] * 6, patients_key="K2")
    start = run_on(tmp_path / "start", first)
    for run, expected in (
        (run_on(tmp_path / "alone", second), True),
        (run_on(tmp_path / "from start", second, start.folder), False),
    ):
        assert score(run, third)[1]["by_patient"] is expected
        assert ("their hashes are of another key" in capsys.readouterr().out) is not expected


def test_a_damaged_file_of_the_run_that_it_started_from_is_named(trained, tmp_path):
    for content in ("", "case\na\n"):
        (trained[0].folder / seen.FILE).write_text(content)
        with pytest.raises(UserError, match=r"run/seen.csv: is damaged, so that what this run has"):
            run_on(tmp_path / f"later {content}", trained[1], trained[0].folder)


def test_nothing_that_is_new_is_an_error(trained, tmp_path):
    films = {name: FILMS[name] for name in ("c0", "c1")}
    with pytest.raises(UserError, match="score other data, or give --score-seen"):
        score(trained[0], prepared_in(tmp_path / "p", films, ["test"] * 2))


def test_an_earlier_run_is_scored_and_nothing_is_claimed(trained, capsys):
    run, prepared = trained
    (run.folder / seen.FILE).unlink()
    _, found = score(run, prepared)
    assert not found["checked"] and not found["by_patient"] and found["scored"]
    assert "is not known" in capsys.readouterr().out


def test_the_file_holds_no_patient_and_stays_when_training_goes_on(trained):
    run, prepared = trained
    content = (run.folder / seen.FILE).read_bytes()
    seen.write_seen(run.folder, replace(prepared, folder=None), [], [], "none")
    assert (run.folder / seen.FILE).read_bytes() == content
    table = pd.read_csv(run.folder / seen.FILE)
    assert tuple(table.columns) == seen.COLUMNS and len(table) == 9
    assert SharedTrain().weights in NO_RUN


def test_scorings_are_counted_for_the_same_data(trained, capsys):
    run, prepared = trained
    counts = [seen.note_scoring(run, prepared, ["test"]) for _ in range(3)]
    counts.append(seen.note_scoring(run, prepared, ["validation"]))
    anew = replace(prepared, manifest={**prepared.manifest, "key": "new"})
    assert [*counts, seen.note_scoring(run, anew, ["test"])] == [0, 1, 2, 0, 3]
    printed = capsys.readouterr().out
    assert "scored before: once, 1 run; choose settings by the" in printed
    assert "scored before: 2 times, 1 run; choose" in printed
    # A line that a kill has cut hides no other one.
    with open(prepared.folder / seen.SCORINGS, "a") as log:
        log.write('{"key": "k", "spl')
    assert [seen.note_scoring(run, prepared, ["test"]) for _ in range(2)] == [4, 5]
    lines = (prepared.folder / seen.SCORINGS).read_text().splitlines()
    lines.remove('{"key": "k", "spl')
    assert {json.loads(line)["run"] for line in lines} == {"run"}


def test_another_dataset_is_counted_by_its_pixels_for_all_runs_on_the_same_data(trained, tmp_path):
    run, prepared = trained
    other = run_on(tmp_path / "other", prepared)
    films = {name: draw() for name in "abc"}
    for n, each in enumerate((run, other, run)):
        clinic = prepared_in(tmp_path / f"clinic {n}", films, ["test"] * 3)
        assert seen.scored_before(each, clinic, ["test"]) == n
        assert seen.note_scoring(each, clinic, ["test"]) == n
    # What an earlier version noted has no pixels.
    (prepared.folder / seen.SCORINGS).write_text('{"key": "k", "splits": ["test"], "run": "x"}\n')
    assert seen.scored_before(run, prepared, ["test"]) == 1
