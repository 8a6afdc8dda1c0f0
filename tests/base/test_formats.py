"""Versions of files, and their schemas."""

import json

import pytest

from common.base.errors import UserError
from common.base.files import read_json, write_json
from common.base.formats import VERSIONS, check_version, stamp
from tests.helpers.formats_checked import ROOT, faults_in, faults_of

SCORE = {
    "name": "AUROC", "value": 0.8, "ci95": [0.7, 0.9], "n_of": None, "baseline": None,
    "baseline_ci95": None, "baseline_name": "view, sex and age",
}  # fmt: skip
METRICS = {
    **stamp("metrics.json"),
    "project": "p", "dataset": "d", "synthetic": False, "split": "test", "n": 9, "n_patients": 8,
    "other_source": False, "seed": 1, "folds": {"of": 0, "fold": 0, "data": "k"},
    "trained": {"synthetic": False, "seed": 1, "data_sha256": "s", "settings_key": "k"},
    "main_scores": [SCORE],
    "fold_scores": [{"name": "AUROC", "value": 0.9}],
    "main_scores_of_groups": [
        {"group": "view AP", "n": 3, "name": "AUROC", "value": None, "ci95": None}
    ],
    "truth_columns": ["label"], "evaluation_settings": {"flip": False}, "versions": {"keras": "3"},
    "created": "2026-01-02T03:04:05+00:00",
}  # fmt: skip


@pytest.mark.parametrize("name", VERSIONS)
def test_a_schema_describes_the_version_that_is_written(name):
    schema = ROOT / "common" / "base" / "schemas" / f"{name.partition('.')[0]}.schema.json"
    content = json.loads(schema.read_text())
    assert content["properties"]["schema_version"]["const"] == VERSIONS[name]


@pytest.mark.parametrize("name", [name for name in VERSIONS if name.endswith(".json")])
def test_only_what_a_newer_version_wrote_is_refused(tmp_path, name):
    path = tmp_path / name
    for content in ({}, {"schema_version": 1}, stamp(name)):
        path.write_text(json.dumps(content))
        assert read_json(path) == content
    path.write_text(json.dumps({"schema_version": VERSIONS[name] + 1}))
    message = rf"{name}: was written by a newer version of this repository .*; update it$"
    with pytest.raises(UserError, match=message):
        read_json(path)
    path.unlink()


@pytest.mark.parametrize("version", ["2", 0, -1, 1.5, True, None, [2]])
def test_what_is_no_version_is_refused(tmp_path, version):
    with pytest.raises(UserError, match=r"config\.json: its schema_version is no whole number"):
        check_version(tmp_path / "config.json", {"schema_version": version})


def test_a_file_without_versions_may_say_what_it_will(tmp_path):
    write_json(tmp_path / "other.json", {"schema_version": 99})
    assert read_json(tmp_path / "other.json") == {"schema_version": 99}


def test_metrics_are_as_their_schema_says(tmp_path):
    write_json(tmp_path / "metrics.json", METRICS)
    assert faults_in(tmp_path / "metrics.json") == []


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"main_scores": [{"name": "AUROC"}]}, "$.main_scores[0]"),
        ({"main_scores": [{**SCORE, "ci95": [0.7]}]}, "$.main_scores[0].ci95"),
        ({"main_scores": [{**SCORE, "value": "0.8"}]}, "$.main_scores[0].value"),
        ({"main_scores_of_groups": [{"group": "view AP"}]}, "$.main_scores_of_groups[0]"),
        ({"truth_columns": "label"}, "$.truth_columns"),
        ({"synthetic": 1}, "$.synthetic"),
        ({"created": "yesterday"}, "$.created"),
        ({"schema_version": 3}, "$.schema_version"),
    ],
)
def test_other_metrics_are_not(changed, place):
    schema = ROOT / "common" / "base" / "schemas" / "metrics.schema.json"
    faults = faults_of(schema, {**METRICS, **changed})
    assert faults and all(fault.startswith(place) for fault in faults)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "schema_version"])
def test_no_key_of_metrics_may_be_missing(name):
    schema = ROOT / "common" / "base" / "schemas" / "metrics.schema.json"
    assert faults_of(schema, {key: METRICS[key] for key in METRICS if key != name})
    older = {key: METRICS[key] for key in METRICS if key not in (name, "schema_version")}
    assert not faults_of(schema, older)
