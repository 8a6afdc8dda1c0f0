"""Who is in the data of an evaluation: the table of participants by split, for reports.

CLAIM 2024 (10.1148/ryai.240300), items 35 and 36, and TRIPOD+AI (10.1136/bmj-2023-078378), items
20 and 21, ask for it. What the data does not say is "not known" in the table and null in
metrics.json, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.base.printing import counted
from common.base.tables import Table
from common.datasets.classes import Classes
from common.datasets.splits import TEST, splits_by_role
from common.records.prepared import Prepared

if TYPE_CHECKING:
    import pandas as pd

NOT_KNOWN = "not known"

_MOST_REASONS = 10
_PATIENTS_UNKNOWN = (
    "Nobody knows whose each image is, so age and sex are of images, which may be of one patient."
)


def participants(
    run_data: Prepared | None,
    trained: Mapping[str, Any],
    data: Prepared,
    split: str,
    scored: Sequence[str],
    seen: Mapping[str, Any],
) -> dict[str, Any]:
    """The participants of a run's own data by split, and of what was scored.

    Args:
        run_data: What the run was trained on; None where it is gone.
        trained: The run's settings of train.py.
        data: What was scored, the same or another.
        split: The name of the evaluation.
        scored: The cases that were.
        seen: The entry of ``metrics.json``: how many were seen in training, and so left out; {}
            where nobody looked.

    Returns:
        ``splits``, a dict each with ``data``, ``split``, whether it was ``scored``, and what
        `_described` says; ``left_out``, a dict each with ``data``, ``reason`` and ``images``.
    """
    splits, left_out = [], []
    is_own = run_data is not None and run_data.folder.resolve() == data.folder.resolve()
    for prepared in [data] if is_own or run_data is None else [run_data, data]:
        cases, name = prepared.cases(), str(prepared.manifest["dataset"])
        groups = {split: [TEST]}
        if prepared is not data or is_own:
            groups = splits_by_role(prepared.splits, trained["fold"], trained.get("nested", False))
        for group, of_group in groups.items():
            rows = cases[cases["split"].isin(of_group)]
            is_scored = prepared is data and group == split
            if is_scored:
                rows = cases[cases["case"].isin(list(scored))]
            if len(rows):
                about = {"data": name, "split": group, "scored": is_scored}
                splits.append({**about, **_described(rows, prepared)})
        reasons = cases.loc[cases["left_out"] != "", "left_out"].value_counts().to_dict()
        if prepared is data and not seen.get("scored", True):
            reasons |= {f"seen in training: {how}": n for how, n in seen["count"].items()}
        left_out += [
            {"data": name, "reason": str(reason), "images": int(n)} for reason, n in reasons.items()
        ]
    return {"splits": splits, "left_out": left_out}


def _described(cases: pd.DataFrame, prepared: Prepared) -> dict[str, Any]:
    """What is known of some cases.

    Returns:
        ``images`` and ``patients``, None where they are not known; of these, or of images where
        they are not, ``sex``, counts by its name, and ``age_years``, ``known`` of how many, and
        ``quartiles``; of images ``view``; ``classes``, by name the ``images`` and ``patients``
        that have it. None of each that the data does not say.
    """
    known = prepared.patients_known
    person = cases["patient" if known else "case"]

    def of_persons(column: str) -> pd.Series[Any] | None:
        """The first of each person's values that is known."""
        if column not in cases:
            return None
        return cases[column].mask(cases[column] == "").groupby(person).first()

    ages, labels = of_persons("age_years"), None
    ages = None if ages is None or ages.isna().all() else ages.dropna()
    if "label" in cases and "classes" in prepared.manifest:
        classes = Classes.described(prepared.manifest)
        truth = classes.truth(cases["label"]) > 0
        names = classes.names[-truth.shape[1] :]
        labels = {
            name: {
                "images": int(has.sum()),
                "patients": int(cases["patient"][has].nunique()) if known else None,
            }
            for name, has in zip(names, truth.T, strict=True)
        }
    return {
        "images": len(cases),
        "patients": int(cases["patient"].nunique()) if known else None,
        "age_years": None
        if ages is None
        else {"known": len(ages), "quartiles": np.percentile(ages, [25, 50, 75]).tolist()},
        "sex": _counts(of_persons("sex")),
        "view": _counts(cases.get("view")),
        "classes": labels,
    }


def _counts(values: pd.Series[Any] | None) -> dict[str, int] | None:
    """How often each value is there, `NOT_KNOWN` last; None where nothing is known."""
    if values is None:
        return None
    counts = values.mask(values == "").value_counts().sort_index()
    unknown = len(values) - int(counts.sum())
    if counts.empty:
        return None
    return {str(value): int(n) for value, n in counts.items()} | (
        {NOT_KNOWN: unknown} if unknown else {}
    )


def participant_tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """The table of participants, and that of what was left out; none of an earlier version."""
    if "participants" not in metrics:
        return ()
    splits, left_out = (metrics["participants"][name] for name in ("splits", "left_out"))
    several = len({entry["data"] for entry in splits}) > 1
    titles = [
        (f"{entry['data']}, " if several else "")
        + entry["split"]
        + (" (scored)" if entry["scored"] else "")
        for entry in splits
    ]
    names = dict.fromkeys(name for entry in splits for name in entry["classes"] or ())
    rows = [
        ("patients", *(_or_unknown(entry["patients"]) for entry in splits)),
        ("images", *(str(entry["images"]) for entry in splits)),
        ("age in years, median (quartiles)", *map(_age, splits)),
        ("sex", *(_shares(entry["sex"]) for entry in splits)),
        ("view", *(_shares(entry["view"]) for entry in splits)),
        *((f"has {name}", *(_prevalence(entry, name) for entry in splits)) for name in names),
    ]
    whole = Table("participants", ("what", *titles), tuple(rows))
    counts = [(entry["reason"], entry["data"], str(entry["images"])) for entry in left_out]
    if len(counts) > _MOST_REASONS:
        others = sum(entry["images"] for entry in left_out[_MOST_REASONS:])
        counts = [*counts[:_MOST_REASONS], ("other reasons: cases.csv", "", str(others))]
    counts = counts or [("nothing", "", "0")]
    return whole, Table("", ("left out, and why", "data", "images"), tuple(counts))


def participants_note(metrics: Mapping[str, Any]) -> str:
    """What the table counts, where patients are not known; "" else."""
    entries = metrics.get("participants", {}).get("splits", ())
    return _PATIENTS_UNKNOWN if any(entry["patients"] is None for entry in entries) else ""


def _or_unknown(value: Any) -> str:
    return NOT_KNOWN if value is None else str(value)


def _age(entry: Mapping[str, Any]) -> str:
    if entry["age_years"] is None:
        return NOT_KNOWN
    first, median, third = entry["age_years"]["quartiles"]
    known, total = entry["age_years"]["known"], entry["patients"] or entry["images"]
    some = "" if known == total else f", of {known} of {total}"
    return f"{median:.0f} ({first:.0f} to {third:.0f}){some}"


def _shares(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return NOT_KNOWN
    total = sum(counts.values())
    return ", ".join(f"{name} {n} ({100 * n / total:.0f} %)" for name, n in counts.items())


def _prevalence(entry: Mapping[str, Any], name: str) -> str:
    counts = (entry["classes"] or {}).get(name)
    if counts is None:
        return NOT_KNOWN
    images, patients = counts["images"], counts["patients"]
    share = f"{counted(images, 'image')} ({100 * images / entry['images']:.0f} %)"
    return share if patients is None else f"{share}, {counted(patients, 'patient')}"
