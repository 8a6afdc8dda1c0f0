"""What Hugging Face's Hub reads of a model card: YAML before its text.

https://huggingface.co/docs/hub/model-cards names the keys. Values are written as JSON, which YAML
reads as it is.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.base.files import ROOT
from common.scores.formatting import marked_name, with_interval
from common.training.runs import NOBODY, SEEN, Run

LISTS = ROOT / "data" / "lists"
"""Of each published dataset: its cases and the SHA-256 of their pixels."""

_CODE, _WEIGHTS = "apache-2.0", "apache-2.0-code-weights-by-terms-of-the-data"


def metadata(
    run: Run,
    task: str,
    tags: Sequence[str],
    evaluations: Sequence[Mapping[str, Any]],
    lists: Path = LISTS,
) -> dict[str, Any]:
    """The front matter of a run's card.

    The licence is that of the code where the data is made up. Else the terms of the data count for
    what was learned from it, so it is "other". ``datasets`` is there only where every image that
    trained or validated is on a list of a published one, by its pixels.

    Args:
        run: A run that ended.
        task: The Hub's name of what the model does, such as "image-classification".
        tags: Further ones.
        evaluations: Contents of ``metrics.json``.
        lists: The folder of the lists.
    """
    synthetic = run.config["synthetic"]
    results = []
    for metrics in evaluations:
        if scores := _scores(metrics):
            # Evaluations of earlier versions do not name their data.
            name = metrics.get("dataset", run.config["dataset"])
            dataset = {"type": _slug(name), "name": f"{name}, {marked_name(metrics)}"}
            results.append({"task": {"type": task}, "dataset": dataset, "metrics": scores})
    published = _published(run, lists)
    return {
        **({"license": _CODE} if synthetic else {"license": "other", "license_name": _WEIGHTS}),
        "library_name": "keras",
        "tags": ["medical-imaging", *tags, *(["synthetic-data"] if synthetic else [])],
        "pipeline_tag": task,
        **({"datasets": [published]} if published else {}),
        **(
            {"model-index": [{"name": run.folder.resolve().name, "results": results}]}
            if results
            else {}
        ),
    }


def as_yaml(content: Mapping[str, Any]) -> str:
    """Front matter as it stands before the text, its ``---`` included."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in content.items()]
    return "\n".join(["---", *lines, "---"])


def _scores(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The main scores that have a value, each with its interval in its name."""
    return [
        {
            "type": _slug(entry["name"]),
            "name": f"{entry['name']}: {with_interval(entry)}",
            "value": round(entry["value"], 4),
        }
        for entry in metrics.get("main_scores", ())
        if entry["value"] is not None
    ]


def _published(run: Run, lists: Path) -> str:
    """The published dataset that all images of training and validation are of; "" for none."""
    try:
        with open(run.folder / SEEN, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            pixels = {row["sha256"] for row in rows if row["role"] != NOBODY}
    except (OSError, KeyError):
        return ""
    for path in sorted(lists.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            known = {row["sha256"] for row in csv.DictReader(file)}
        if pixels and pixels <= known - {""}:
            return path.stem
    return ""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"
