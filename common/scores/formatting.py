"""Scores of ``metrics.json`` as text, and the rows that every table of evaluations shows.

A project writes its main scores once, as the list ``main_scores`` of ``metrics.json``
(`main_score`); what tabulates several evaluations reads that list and knows no project.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from common.base.tables import MISSING

_SAID = ("ci95_method", "ci95_reason")


def with_interval(
    score: Mapping[str, Any] | None, name: str = "value", digits: int = 3, sign: str = ""
) -> str:
    """A score with its 95 % interval: ``0.912 [0.874, 0.944]``; ``-`` where there is none.

    In place of an interval that is refused stands why: ``0.912 [none: one patient]``.

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
    interval = interval or _refused(score)
    return f"{score[name]:{sign}.{digits}f}" + (f" [{interval}]" if interval else "")


def significant(value: Any) -> Any:
    """A float to nine significant digits, which tell any two of 32 bits apart; others as they are.

    Rounded to a number of decimals, small probabilities would become ties, and their order, which
    AUROC is about, would be lost.
    """
    return float(f"{value:.9g}") if isinstance(value, float) else value


def score(metrics: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """A number of a ``metrics.json`` with its interval, which stands at its place in ``ci95``."""
    value: Any = metrics
    limits = {key: metrics.get(key) for key in ("ci95", *_SAID)}
    for name in path:
        value = value[name]
        limits = {key: (part or {}).get(name) for key, part in limits.items()}
    return {"value": value, **{key: part for key, part in limits.items() if part or key == "ci95"}}


def share(metrics: Mapping[str, Any], *path: str) -> str:
    """A count of ``n`` cases as a share with its interval: ``48 of 57, 84 % [74, 94]``."""
    count = score(metrics, *path)
    return _share(count["value"], metrics["n"], count)


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
            on the same cases; None or not there in what an earlier version wrote.
        baseline_name: What the baseline is; None where there is none.
        n_of: Of a share of cases, the count and how many cases there are.
        **recipe: How predictions.csv gives the score (`common.compare`): ``statistic`` is "auroc"
            of the columns ``truth`` and ``score``, "macro_auroc" its mean over classes, of
            ``truth`` and ``scores``, a class's column by its name, "agreement" of the columns
            ``truth`` and ``prediction``, or "mean" of ``column``, over the rows that ``where``
            selects.
    """
    return {
        "name": name,
        "value": score["value"],
        "ci95": score["ci95"],
        "n_of": n_of and list(n_of),
        **{key: score[key] for key in _SAID if key in score},
        "baseline": baseline["value"],
        "baseline_ci95": baseline["ci95"],
        **{f"baseline_{key}": baseline[key] for key in _SAID if key in baseline},
        "baseline_name": baseline_name,
        "difference": baseline.get("difference"),
        **({"from": recipe} if recipe else {}),
    }


def fold_score(name: str, value: float | None, /, **recipe: Any) -> dict[str, Any]:
    """An entry of ``fold_scores``: a score by its name, and as of `main_score` how it is given.

    The recipe of a difference is ``score`` and ``less``, two recipes.
    """
    return {"name": name, "value": value, **({"from": recipe} if recipe else {})}


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
        baseline["ci95_reason"] = entry.get("baseline_ci95_reason", "")
        if entry["n_of"]:
            count, n = entry["n_of"]
            value = _share(count, n, entry)
            known = entry["baseline"] is not None
            text = _share(round(entry["baseline"] * n), n, baseline) if known else MISSING
        else:
            value, text = with_interval(entry), with_interval(baseline)
        text += f" ({entry['baseline_name']})" if entry["baseline_name"] else ""
        if entry.get("from", {}).get("statistic") in ("auroc", "macro_auroc"):
            text += below_chance(entry["baseline"])
        rows.append((entry["name"], value, text))
    return rows


def of_validation(metrics: Mapping[str, Any]) -> bool:
    """Whether the cases of a ``metrics.json`` chose the run's best epoch, whatever their name."""
    return metrics["split"] == "validation" or bool(metrics.get("seen", {}).get("validated"))


def too_good(metrics: Mapping[str, Any]) -> str:
    """Why the scores of a ``metrics.json`` are, or may be, too good, in words; "" for no reason."""
    seen, reasons = metrics.get("seen", {}), []
    if seen.get("scored") and seen["count"]:
        reasons.append(f"{sum(seen['count'].values())} of {metrics['n']} SEEN IN TRAINING")
    if of_validation(metrics):
        reasons.append("these cases chose the best epoch")
    if not metrics.get("patients_known", True):
        reasons.append("patients unknown")
    elif metrics.get("split_warning"):
        reasons.append("patients on two sides")
    return ", ".join(reasons)


def marked_name(metrics: Mapping[str, Any]) -> str:
    """`data_name` with `too_good` behind it: ``clinic (46 of 96 SEEN IN TRAINING)``."""
    reasons = too_good(metrics)
    return data_name(metrics) + (f" ({reasons})" if reasons else "")


def data_name(metrics: Mapping[str, Any]) -> str:
    """The split or the name of the data that was scored, marked where it is synthetic."""
    return ("SYNTHETIC " if is_made_up(metrics) else "") + str(metrics["split"])


def is_made_up(metrics: Mapping[str, Any]) -> bool:
    """Whether the cases that were scored are made up; earlier files say it with what trained."""
    return bool(metrics.get("data_synthetic", metrics["synthetic"]))


def _share(count: int, n: int, score: Mapping[str, Any]) -> str:
    interval = ", ".join(f"{100 * limit:.0f}" for limit in score["ci95"] or ()) or _refused(score)
    text = f"{count} of {n}, {100 * count / n:.0f} %"
    return f"{text} [{interval}]" if interval else text


def _refused(score: Mapping[str, Any]) -> str:
    """Why there is no interval; of what an earlier version wrote nobody knows."""
    return f"none: {score['ci95_reason']}" if score.get("ci95_reason") else ""
