"""The first Grad-CAM that a newcomer opens: the demo's."""

from __future__ import annotations

import json

import pytest

from synthetic_sample.make_sample import make_sample
from tests.helpers.scripts import run

PROJECT = "pneumonia_classification"


@pytest.mark.slow
def test_the_demos_map_points_at_the_opacity_twice_as_often_as_chance(tmp_path):
    demo = make_sample(tmp_path / "demo", parts=("chest",))["chest"]
    # Other films than the demo's, of which some 200 have an opacity; patients' numbers are drawn
    # from the same few, though the films are not.
    fresh = make_sample(tmp_path / "fresh", seed=99, chest_images=620, parts=("chest",))["chest"]
    prepared, trained = tmp_path / "prepared", tmp_path / "run"
    run(PROJECT, "prepare_data", "--preset", "demo", "--source", demo, "--prepared", prepared)
    run(PROJECT, "train", "--preset", "demo", "--prepared", prepared, "--run", trained)
    run(
        PROJECT, "evaluate", "--run", trained, "--source", fresh, "--name", "fresh",
        "--score-seen", "--pictures", 1,
    )  # fmt: skip
    metrics = json.loads((trained / "evaluation" / "fresh" / "metrics.json").read_text())
    first = metrics["gradcam"]["finer"]
    assert first["n"] > 180
    assert first["ci95"][0] > 2 * first["chance"]
