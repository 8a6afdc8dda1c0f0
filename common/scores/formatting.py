"""Scores of ``metrics.json`` as text, and the rows that every table of evaluations shows.

A project writes its main scores once, as the list ``main_scores`` of ``metrics.json``
(`main_score`); what tabulates several evaluations reads that list and knows no project.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.base.tables import MISSING


def with_interval(
    score: Mapping[str, Any] | None, name: str = "value", digits: int = 3, sign: str = ""
) -> str:
    """A score with its 95 % interval: ``0.912 [0.874, 0.944]``; ``-`` where there is none.

    Args:
        score: With its value under ``name`` and ``ci95``, [low, high] or None.
        name: Where the value is.
        digits: After the point.
        sign: "+" writes the sign of positive values too, for a difference.
    """
    if not score or score.get(name) is None:
        return MISSING
    limits = score.get("ci95")
    interval = ", ".join(f"{limit:{sign}.{digits}f}" for limit in limits or ())
    return f"{score[name]:{sign}.{digits}f}" + (f" [{interval}]" if limits else "")


def score(metrics: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """A number of a ``metrics.json`` with its interval, which stands at its place in ``ci95``."""
    value, limits = metrics, metrics.get("ci95")
    for name in path:
        value, limits = value[name], (limits or {}).get(name)
    return {"value": value, "ci95": limits}


def share(metrics: Mapping[str, Any], *path: str) -> str:
    """A count of ``n`` cases as a share with its interval: ``48 of 57, 84 % [74, 94]``."""
    count = score(metrics, *path)
    return _share(count["value"], metrics["n"], count["ci95"])


def main_score(
    name: str,
    score: Mapping[str, Any],
    baseline: Mapping[str, Any],
    baseline_name: str | None,
    /,
    n_of: tuple[int, int] | None = None,
    **recipe: Any,
) -> dict[str, Any]:
    """An entry of ``main_scores``.

    Args:
        name: As tables show it.
        score: The model's ``value``, 0 to 1 or None, and its ``ci95``.
        baseline: The same of the (strongest) baseline, both None where there is none, and the
            ``difference`` to it, with the ``value`` and ``ci95`` of the model's less the baseline's
            on the same resamples; None or not there in what an earlier version wrote.
        baseline_name: What the baseline is; None where there is none.
        n_of: Of a share of cases, the count and how many cases there are.
        **recipe: How predictions.csv gives the score (`common.compare`): ``statistic`` is "auroc"
            of the columns ``truth`` and ``score``, "agreement" of the columns ``truth`` and
            ``prediction``, or "mean" of ``column``, over the rows that ``where`` selects.
    """
    return {
        "name": name,
        "value": score["value"],
        "ci95": score["ci95"],
        "n_of": n_of and list(n_of),
        "baseline": baseline["value"],
        "baseline_ci95": baseline["ci95"],
        "baseline_name": baseline_name,
        "difference": baseline.get("difference"),
        **({"from": recipe} if recipe else {}),
    }


def strongest(baselines: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Any], str]:
    """The baseline with the highest ``value`` and its name, for `main_score`.

    Args:
        baselines: By their names; the first of equals is taken, and one of value None last.
    """

    def value(name: str) -> float:
        number = baselines[name]["value"]
        return -math.inf if number is None else number

    name = max(baselines, key=value)
    return baselines[name], name


def below_chance(auroc: float | None) -> str:
    """The words that stand behind an AUROC below 0.5, and "" behind another."""
    below = auroc is not None and auroc < 0.5
    return ", below chance: it ranks more pairs wrongly than rightly" if below else ""


def score_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The main scores of a ``metrics.json``: name, value with interval, and the baseline's.

    One of an earlier version has none.
    """
    rows = []
    for entry in metrics.get("main_scores", ()):
        baseline = {"value": entry["baseline"], "ci95": entry["baseline_ci95"]}
        if entry["n_of"]:
            count, n = entry["n_of"]
            value = _share(count, n, entry["ci95"])
            known = entry["baseline"] is not None
            text = _share(round(entry["baseline"] * n), n, baseline["ci95"]) if known else MISSING
        else:
            value, text = with_interval(entry), with_interval(baseline)
        text += f" ({entry['baseline_name']})" if entry["baseline_name"] else ""
        if entry.get("from", {}).get("statistic") == "auroc":
            text += below_chance(entry["baseline"])
        rows.append((entry["name"], value, text))
    return rows


def of_validation(metrics: Mapping[str, Any]) -> bool:
    """Whether the cases of a ``metrics.json`` chose the run's best epoch, whatever their name."""
    return metrics["split"] == "validation" or bool(metrics.get("seen", {}).get("validated"))


def data_name(metrics: Mapping[str, Any]) -> str:
    """The split or the name of the data that was scored, marked where it is synthetic."""
    return ("SYNTHETIC " if metrics["synthetic"] else "") + str(metrics["split"])


def _share(count: int, n: int, limits: Sequence[float] | None) -> str:
    interval = ", ".join(f"{100 * limit:.0f}" for limit in limits or ())
    text = f"{count} of {n}, {100 * count / n:.0f} %"
    return f"{text} [{interval}]" if limits else text
