"""A model's card, filled from a run."""

import hashlib
import json

import pytest

from common.reporting import model_card
from common.reporting.model_card import About
from common.training.runs import Run
from tests.helpers.score_files import METRICS, with_main_scores

ABOUT = About(
    model="A network of one layer.",
    question="Is it white?",
    answer="A probability.",
    factors="The light.",
    metrics="AUROC.",
    caveats=("It is not about grey.", "Nor about black."),
)


@pytest.fixture
def run(tmp_path):
    folder, prepared = tmp_path / "my-run", tmp_path / "home-of-someone" / "prepared"
    for path in (folder / "model.keras", folder / "head" / "model.keras"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.parent.name.encode())
    prepared.mkdir(parents=True)
    manifest = {"key": "k1", "counts": {"train": 70, "test": 30}}
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    config = {
        "project": "pneumonia_classification",
        "dataset": "clinic",
        "synthetic": False,
        "prepared": str(prepared),
        "data": {"key": "k1", "settings": {"image_size": 224}},
        "settings": {"epochs": 7, "run": str(folder), "weights": str(prepared / "start.keras")},
        "versions": {"keras": "3.15.1"},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Run(folder, config, {})


def evaluated(run, **changed):
    metrics = with_main_scores({
        **METRICS["pneumonia"], "n_patients": 20, "synthetic": False,
        "created": "2026-01-02T00:00:00+00:00",
        "per_view": {"AP": {"n": 12, "auroc": {"value": 0.7, "ci95": [0.6, 0.8]}}}, **changed,
    })  # fmt: skip
    folder = run.folder / "evaluation" / metrics["split"]
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_scores_stand_with_their_intervals_beside_their_baselines(run):
    evaluated(run)
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert "| test | 40 | 20 | AUROC | 0.871 [0.800, 0.930] | 0.610 (view, sex and age) |" in text
    assert "| view AP | test | 12 | AUROC | 0.700 [0.600, 0.800] |" in text
    evaluated(run, split="clinic", patients_known=False)
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert (
        "| clinic (patients unknown) | 40 | unknown | AUROC |" in text
        and "over images where these are" in text
    )
    assert "| cases, train | 70 |" in text
    assert "epochs 7" in text and "keras 3.15.1" in text
    for words in (ABOUT.model, ABOUT.question, ABOUT.factors, *ABOUT.caveats, "Not for diagnosis"):
        assert words in text


def test_without_an_evaluation_the_card_says_so(run):
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert "was not evaluated" in text
    assert "AUROC |" not in text


def test_what_was_seen_in_training_is_marked(run):
    evaluated(
        run, split="clinic", seen={"checked": True, "scored": True, "count": {"same pixels": 4}}
    )
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert "| clinic (4 of 40 SEEN IN TRAINING) | 40 |" in text


SEEN = {"checked": True, "count": {}, "scored": False, "validated": True}


@pytest.mark.parametrize(
    "of_validation", [{"split": "validation"}, {"split": "mine", "seen": SEEN}]
)
def test_what_is_scored_on_the_validation_split_is_said_to_be_too_good(run, of_validation):
    evaluated(run)
    assert "too good" not in model_card.as_markdown(model_card.model_card(run, ABOUT))
    evaluated(run, **of_validation, created="2026-01-03T00:00:00+00:00")
    card = model_card.model_card(run, ABOUT)
    assert "too good" in model_card.as_markdown(card)
    scores = next(one for one in card.sections if one.title.startswith("Evaluation"))
    name = f"{of_validation['split']} (these cases chose the best epoch)"
    assert [row[0] for row in scores.table[1:]] == ["test", "test", name, name]


def test_the_model_file_is_named_by_its_hash_and_no_folder_of_the_machine_is(run):
    path = model_card.write_model_card(run.folder.parent / "out", run, ABOUT)
    text = path.read_text()
    assert hashlib.sha256((run.folder / "model.keras").read_bytes()).hexdigest() in text
    assert hashlib.sha256(b"head").hexdigest() not in text
    assert "weights start.keras" in text
    assert "home-of-someone" not in text and str(run.folder.parent) not in text


def test_made_up_data_is_called_so(run):
    assert "SYNTHETIC" not in model_card.as_markdown(model_card.model_card(run, ABOUT))
    run.config["synthetic"] = True
    card = model_card.model_card(run, ABOUT)
    assert card.synthetic and "SYNTHETIC" in model_card.as_markdown(card)


def test_prepared_data_that_was_replaced_is_not_counted(run):
    run.config["data"]["key"] = "k2"
    assert "cases, train" not in model_card.as_markdown(model_card.model_card(run, ABOUT))


def test_a_split_by_image_is_no_split_by_patient(run):
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert "split by patient, so that nobody is on two sides" in text
    warning = "patients unknown (none has a name): this is a split by image"
    run.config["split_warning"] = warning
    evaluated(run, split_warning=f"{warning}, too")
    text = model_card.as_markdown(model_card.model_card(run, ABOUT))
    assert f"prepared by prepare_data.py; {warning}." in text
    assert f"Caution: {warning}, too." in text
    assert "split by patient" not in text
