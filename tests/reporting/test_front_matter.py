"""The front matter of model_card.md, as YAML reads it."""

from __future__ import annotations

import json

import pytest
import yaml

from common.reporting.front_matter import as_yaml, metadata
from common.reporting.model_card import as_markdown, model_card
from common.training.runs import NOBODY, Run
from pneumonia_classification.model_card import ABOUT, about
from tests.helpers.score_files import METRICS
from tests.helpers.scripts import PROJECTS

TASK = "image-classification"
RESULT = {
    **METRICS["pneumonia"], "dataset": "clinic", "n_patients": 20,
    "created": "2026-01-02T00:00:00+00:00",
}  # fmt: skip


def run_in(folder, synthetic=True, pixels=()):
    folder.mkdir(exist_ok=True)
    lines = ["run,role,case,patient_hash,sha256,perceptual"]
    lines += [f",train,c{number},,{value}," for number, value in enumerate(pixels)]
    (folder / "seen.csv").write_text("\n".join(lines) + "\n")
    config = {
        "project": PROJECTS[0], "dataset": "clinic", "synthetic": synthetic, "prepared": "nowhere",
        "data": {"key": "k", "settings": {}}, "settings": {}, "versions": {},
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Run(folder, config, {})


def parsed(text):
    """The front matter of a card, and the text behind it."""
    _, front, rest = text.split("---\n", 2)
    return yaml.safe_load(front), rest


def test_the_card_begins_with_what_the_hub_reads(tmp_path):
    front, rest = parsed(as_markdown(model_card(run_in(tmp_path / "my-run"), ABOUT, [RESULT])))
    assert rest.lstrip().startswith("# Model card: pneumonia_classification")
    assert front["library_name"] == "keras" and front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == TASK
    assert {"medical-imaging", "chest-x-ray", "pneumonia", "synthetic-data"} == set(front["tags"])
    assert "datasets" not in front
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert index["name"] == "my-run" and result["task"] == {"type": TASK}
    assert result["dataset"] == {"type": "clinic", "name": "clinic, SYNTHETIC test"}
    by_type = {entry["type"]: entry for entry in result["metrics"]}
    assert by_type["auroc"]["value"] == 0.8714
    assert by_type["auroc"]["name"] == "AUROC: 0.871 [0.800, 0.930]"
    assert by_type["accuracy"]["value"] == 0.75


@pytest.mark.parametrize("project", PROJECTS)
def test_every_project_has_a_task_of_the_hub(project):
    module = __import__(f"{project}.model_card", fromlist=["ABOUT"])
    tasks = {"image-classification", "object-detection", "image-segmentation"}
    assert module.ABOUT.task in tasks and module.ABOUT.tags


def test_other_classes_are_not_tagged_as_pneumonia(tmp_path):
    from common.datasets.classes import Classes

    for classes in (Classes(("benign", "malignant")), Classes(("a", "b", "c"))):
        assert about(classes).tags == () and about(classes).task == TASK


def test_weights_from_data_of_others_are_not_under_the_licence_of_the_code(tmp_path):
    front = metadata(run_in(tmp_path / "run", synthetic=False), TASK, (), [])
    assert front["license"] == "other" and "data" in front["license_name"]
    assert "synthetic-data" not in front["tags"]
    assert "model-index" not in front, "nothing was scored"


def test_a_dataset_is_named_where_every_image_is_on_its_list(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "kermany.csv").write_text("case,split,sha256\na,train,11\nb,test,22\n")
    (lists / "rsna.csv").write_text("case,split,sha256\nc,train,33\nd,train,\n")

    def datasets(*pixels):
        run = run_in(tmp_path / "run", synthetic=False, pixels=pixels)
        return metadata(run, TASK, (), [], lists).get("datasets")

    assert datasets("11", "22") == ["kermany"]
    assert datasets("33") == ["rsna"]
    assert datasets("11", "33") is None, "of two lists"
    assert datasets("11", "44") is None, "one image is on no list"
    assert datasets("33", "") is None, "of one image it is not known"
    assert datasets() is None
    (tmp_path / "run" / "seen.csv").unlink()
    assert metadata(run_in(tmp_path / "new"), TASK, (), [], lists).get("datasets") is None


def test_a_dataset_is_named_where_patients_are_unknown(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "heart.csv").write_text("case,split,sha256\na,train,11\n")
    run = run_in(tmp_path / "run", synthetic=False, pixels=["11"])
    with open(run.folder / "seen.csv", "a") as file:
        file.write(f",{NOBODY},,,,\n")
    assert metadata(run, TASK, (), [], lists)["datasets"] == ["heart"]
    with open(run.folder / "seen.csv", "a") as file:
        file.write("weights,unknown,,,,\n")
    assert "datasets" not in metadata(run, TASK, (), [], lists), "its weights saw others"


def test_a_score_without_a_value_is_no_result(tmp_path):
    scores = [{**entry, "value": None} for entry in RESULT["main_scores"]]
    front = metadata(run_in(tmp_path / "run"), TASK, (), [{**RESULT, "main_scores": scores}])
    assert "model-index" not in front


@pytest.mark.parametrize("name", ["a: b # c", "---", "'\"", "two\nlines", "{x}", "é", "- 1", "yes"])
def test_hostile_names_stay_text(tmp_path, name):
    front = metadata(run_in(tmp_path / "run"), TASK, (name,), [{**RESULT, "dataset": name}])
    content = yaml.safe_load(as_yaml(front).removeprefix("---").removesuffix("---"))
    assert content == json.loads(json.dumps(front))
    assert content["model-index"][0]["results"][0]["dataset"]["name"].startswith(name)
