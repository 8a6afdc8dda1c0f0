"""Tables of what a pneumonia evaluation says of its probabilities and of decisions by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.base.tables import MISSING, Table
from common.scores.calibration import NONE, PLATT
from common.scores.formatting import score, with_interval
from common.scores.groups import describe_gaps

_MEASURES = {
    "brier": "Brier score (0)",
    "log_loss": "log loss (0)",
    "expected_calibration_error": "calibration error (0)",
    "intercept": "calibration in the large, intercept (0)",
    "slope": "calibration slope (1)",
}
_SCORES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
}


def tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Calibration, net benefit, predictive values, declining and gaps between groups, if there."""
    parts = [
        _calibration(metrics["calibration"]),
        _at_prevalence(metrics.get("at_prevalence")),
        _net_benefit(metrics.get("net_benefit", ())),
        _reject(metrics.get("reject")),
        _gaps(metrics.get("gaps", ())),
    ]
    return [table for table in parts if table is not None]


def method_in_words(calibration: Mapping[str, Any]) -> str:
    """The rescaling of metrics.json: ``after Platt: logits / 1.20 -0.31``."""
    temperature = calibration["temperature"]
    # An earlier version fitted a temperature always.
    if calibration.get("method") == PLATT:
        return f"after Platt: logits / {temperature:.2f} {calibration['shift']:+.2f}"
    return f"at temperature {temperature:.2f}"


def _calibration(calibration: Mapping[str, Any]) -> Table:
    """How far off probabilities are, before and after, and which is better."""
    rescaled = calibration.get("method") != NONE
    gaps = calibration.get("differences", {})
    rows = []
    for key, title in _MEASURES.items():
        if f"{key}_before" not in calibration:
            continue
        cells = [with_interval(score(calibration, f"{key}_before"))]
        if rescaled:
            gap = gaps.get(key, {})
            cells += [
                with_interval(score(calibration, f"{key}_after")),
                with_interval(gap, sign="+") if gap else "",
                gap.get("verdict", ""),
            ]
        rows.append((title, *cells))
    head = ["measure (at best)", "as it is"]
    if rescaled:
        head += [method_in_words(calibration), "after less before", "so after is"]
    title = "probabilities against shares"
    title += "" if rescaled else "; validation shows no misfit beyond chance, so none is rescaled"
    return Table(title, tuple(head), tuple(rows))


def _at_prevalence(values: Mapping[str, Any] | None) -> Table | None:
    if not values:
        return None
    return Table(
        f"where {100 * values['prevalence']:.3g} % are ill (--prevalence), at the threshold",
        ("predictive value", "model"),
        (
            ("positive (PPV): yes is right", with_interval(values["ppv"])),
            ("negative (NPV): no is right", with_interval(values["npv"])),
        ),
    )


def _net_benefit(rows: Any) -> Table | None:
    if not rows:
        return None
    return Table(
        "net benefit a case, at this data's share of positives; of none it is 0",
        ("threshold probability", "model", "calling all", "model less the better of all and none"),
        tuple(
            (
                f"{row['threshold']:.2f}",
                with_interval(row["model"]),
                with_interval(row["all"]),
                with_interval(row["difference"], sign="+"),
            )
            for row in rows
        ),
    )


def _reject(declined: Mapping[str, Any] | None) -> Table | None:
    if not declined:
        return None
    return Table(
        f"with no answer from {declined['low']:.3f} to {declined['high']:.3f} (--reject)",
        ("share", "model"),
        (
            ("films without an answer", with_interval(declined["declined"])),
            ("of patients with positive films: missed", with_interval(declined["missed"])),
            ("of those with negative ones: false alarm", with_interval(declined["false_alarms"])),
        ),
    )


def _gaps(gaps: Any) -> Table | None:
    if not gaps:
        return None
    names = [name for name in _SCORES if name in gaps[0]]
    return Table(
        f"groups less the others of their kind; {describe_gaps(gaps)}",
        ("group", "cases", *(_SCORES[name] for name in names)),
        tuple(
            (
                f"{gap['kind']} {gap['group']}",
                str(gap["n"]),
                *(with_interval(gap[name], sign="+") or MISSING for name in names),
            )
            for gap in gaps
        ),
    )
