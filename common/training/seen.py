"""What a run has learned from, and which other cases are among it.

``seen.csv`` in a run holds every case that trained or validated it, and those of the runs that its
weights came from: by fingerprints of the pixels and by a hash of the patient, never by a name of a
person. A score on such a case says nothing about new ones.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.base import hosts
from common.base.errors import UserError
from common.base.files import content_key, write_csv
from common.base.printing import counted
from common.base.settings import NO_RUN
from common.datasets.splits import TEST, VALIDATION, splits_by_role
from common.imaging.fingerprints import NEAR, differences
from common.records.prepared import Prepared
from common.training.evaluations import OVERLAP, print_data
from common.training.runs import NOBODY, SEEN, Run, now, run_of_weights

FILE = SEEN
COLUMNS = ("run", "role", "case", "patient_hash", "patients_key", "sha256", "perceptual")
SCORINGS = "scorings.jsonl"
"""In the prepared folder that a run was trained on: a line each time that such a run was scored."""

UNKNOWN = "unknown"
"""The role in a row that stands for all that starting weights of unknown origin have seen."""

SAME, NEAR_DUPLICATE, PATIENT = "same pixels", "near duplicate", "same patient"
"""How a case can have been seen."""

# Cases to compare at once, which bounds memory.
_CHUNK = 1024


def write_seen(
    run: Path, prepared: Prepared, train: Sequence[str], validation: Sequence[str], weights: str
) -> None:
    """Write ``seen.csv`` of a run that begins, with what its starting weights have seen.

    Args:
        run: The run's folder.
        prepared: What it trains on.
        train: The splits that train.
        validation: Those that validate.
        weights: Where its weights start: a run's folder, a file in one, or a name.
    """
    if (run / FILE).exists() or not hosts.is_first():
        return
    cases, key = prepared.cases(), prepared.manifest.get("patients_key", "")
    tables = [
        cases[cases["split"].isin(splits)].assign(role=role, run="", patients_key=key)
        for role, splits in (("train", train), ("validation", validation))
    ]
    if not prepared.patients_known:
        tables.append(pd.DataFrame({"run": [""], "role": [NOBODY]}))
    start = run_of_weights(weights, FILE)
    if start is None and weights not in NO_RUN:
        tables.append(pd.DataFrame({"run": [Path(weights).name], "role": [UNKNOWN]}))
    if start is not None:
        table = _read(start)
        tables.append(table.assign(run=table["run"].replace("", start.resolve().name)))
    rows: list[Any] = pd.concat(tables).reindex(columns=COLUMNS).fillna("").to_dict("records")
    write_csv(run / FILE, COLUMNS, rows)


def find_overlap(seen: pd.DataFrame, cases: pd.DataFrame, validated: bool) -> pd.DataFrame | None:
    """The cases that some runs have seen.

    Args:
        seen: What the runs whose models predict have seen, from ``seen.csv``.
        cases: With ``case``, ``patient``, ``patient_hash``, ``sha256`` and ``perceptual``.
        validated: Whether the cases are the run's validation split, for which what trained alone
            counts.

    Returns:
        One row per case that was seen: ``case``, ``how`` (`SAME`, `NEAR_DUPLICATE`, `PATIENT`) and
        of what it equals ``run`` ("" for these), ``role`` and ``seen_as``; a film whose patient has
        another one that was seen counts as of the same patient. Its ``attrs`` have
        ``other_numbers``: whether films that were seen have other patients here, so that patients
        cannot be compared. None where that is not known: the data of either is of an earlier
        version, which kept no fingerprints.
    """
    if validated:
        seen = seen[(seen["role"] == "train") | (seen["run"] != "")]
    if "sha256" not in cases or (seen["sha256"] == "").all() or (cases["sha256"] == "").all():
        return None
    rows = []
    by_pixels, by_patient = (
        seen[seen[name] != ""].drop_duplicates(name).set_index(name)
        for name in ("sha256", "patient_hash")
    )
    near = _nearest(cases, seen)
    other_numbers = []
    of_patient: dict[str, Any] = {}
    for place, case in enumerate(cases.to_dict("records")):
        if case["sha256"] in by_pixels.index:
            how, match = SAME, by_pixels.loc[case["sha256"]]
        elif near[place] >= 0:
            how, match = NEAR_DUPLICATE, seen.iloc[near[place]]
        elif case["patient_hash"] in by_patient.index:
            how, match = PATIENT, by_patient.loc[case["patient_hash"]]
        else:
            continue
        if how != PATIENT and case["patient_hash"] and match["patient_hash"]:
            other_numbers.append(case["patient_hash"] != match["patient_hash"])
        of_patient.setdefault(case["patient"], match)
        rows.append(_overlap(case, how, match))
    noted = {row["case"] for row in rows}
    rows += [
        _overlap(case, PATIENT, of_patient[case["patient"]])
        for case in cases.to_dict("records")
        if case["case"] not in noted and case["patient"] in of_patient
    ]
    overlap = pd.DataFrame(rows, columns=["case", "how", "run", "role", "seen_as"])
    # Some equal films are of two patients in one numbering too.
    overlap.attrs["other_numbers"] = sum(other_numbers) > len(other_numbers) / 2
    return overlap


def _overlap(case: Mapping[Hashable, Any], how: str, match: pd.Series[str]) -> dict[str, str]:
    return {
        **{"case": case["case"], "how": how, "run": match["run"], "role": match["role"]},
        "seen_as": match["case"],
    }


def cases_to_score(
    runs: Sequence[Run],
    prepared: Prepared,
    splits: Sequence[str],
    name: str,
    score_seen: bool,
    folder: Path,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The cases of an evaluation; those that the runs have seen are named, and left out.

    Args:
        runs: The runs whose models predict, the first the one that is scored.
        prepared: The data.
        splits: Those to score.
        name: The evaluation's.
        score_seen: Whether to score what was seen all the same.
        folder: The evaluation's, where `OVERLAP` is written if there is any.

    Returns:
        The rows of ``cases.csv``, and for ``metrics.json`` ``seen``: whether that could be
        ``checked``, and ``by_patient`` too; the ``count`` by how a case was seen, whether those
        were ``scored``, and whether all cases ``validated`` the run.

    Raises:
        UserError: Nothing is left to score.
    """
    cases = prepared.cases()
    cases = cases[cases["split"].isin(splits)].reset_index(drop=True)
    print_data(prepared, name, cases)
    overlap, validated = None, _validated(runs[0], prepared, splits)
    if all((run.folder / FILE).is_file() for run in runs):
        seen = pd.concat([_read(run.folder) for run in runs], ignore_index=True)
        overlap = find_overlap(seen, cases, validated)
    if overlap is None:
        print("  whether training saw some of them is not known: an earlier version made the run")
        return cases, {
            "checked": False,
            "by_patient": False,
            "count": {},
            "scored": True,
            "validated": validated,
        }
    # Of data that an earlier version prepared there are rows without fingerprints.
    unknown = seen[(seen["sha256"] == "") & (seen["role"] != NOBODY)]["run"].unique()
    for origin in unknown:
        what = f"{origin}, its starting weights," if origin else "one of the runs"
        print(f"  what {what} has seen is not known")
    checked = not len(unknown) and not (cases["sha256"] == "").any()
    by_patient = checked and prepared.patients_known and not (seen["role"] == NOBODY).any()
    keys = set(seen.loc[seen["patient_hash"] != "", "patients_key"])
    if by_patient and keys - {prepared.manifest.get("patients_key", "")}:
        by_patient = False
        print(
            "  patients cannot be compared: their hashes are of another key; give --ids its table"
        )
    if by_patient and overlap.attrs["other_numbers"]:
        by_patient = False
        print("  patients cannot be compared: films that were seen are of other patients here")
    count = {str(how): int(number) for how, number in overlap["how"].value_counts().items()}
    if not overlap.empty:
        rows: list[Any] = overlap.to_dict("records")
        write_csv(folder / OVERLAP, overlap.columns, rows)
        by_origin = overlap.assign(run=overlap["run"].replace("", "the run")).groupby("run")["role"]
        origins = (
            f"{role} of {origin}" for origin, roles in by_origin for role in sorted(set(roles))
        )
        print(
            f"  SEEN IN TRAINING: of {len(cases)} cases {describe(count)} ({', '.join(origins)}); "
            f"{'scored all the same' if score_seen else 'left out, --score-seen scores them too'};"
            f" the first: {', '.join(overlap['case'][:3])}; {OVERLAP} names all",
            flush=True,
        )
    total = len(cases)
    if not score_seen:
        cases = cases[~cases["case"].isin(overlap["case"])].reset_index(drop=True)
    if cases.empty:
        raise UserError(
            f"{runs[0].folder}: has seen every case in training or validation; score other data, "
            "or give --score-seen to score them all the same"
        )
    kinds = "by pixels and by patient" if by_patient else "by pixels alone"
    print(f"  seen in training, {kinds}: {len(overlap)} of {total}; {len(cases)} cases are scored")
    return cases, {
        "checked": bool(checked),
        "by_patient": bool(by_patient),
        "count": count,
        "scored": score_seen,
        "validated": validated,
    }


def _validated(run: Run, prepared: Prepared, splits: Sequence[str]) -> bool:
    """Whether some splits are those that validated a run."""
    if TEST in splits:
        return False
    trained = run.config["settings"]
    roles = splits_by_role(prepared.splits, trained["fold"], trained.get("nested", False))
    return roles[VALIDATION] == list(splits)


def scored_before(run: Run, prepared: Prepared, splits: Sequence[str]) -> int:
    """How often runs on the same training data were scored on these images before.

    Who tries often and keeps the best has tuned on the test split.
    """
    return len(_scored_before(_log(run), _scored(prepared, splits)))


def note_scoring(run: Run, prepared: Prepared, splits: Sequence[str]) -> int:
    """Note that splits were scored, and print how often they were before; gives `scored_before`."""
    file, entry = _log(run), _scored(prepared, splits)
    before = _scored_before(file, entry)
    text = _text(file)
    entry |= {"run": run.folder.resolve().name, "time": now()}
    try:
        with open(file, "a", encoding="utf-8") as log:
            log.write(("" if text.endswith("\n") or not text else "\n") + json.dumps(entry) + "\n")
    except OSError:
        print(f"  {file}: cannot be written, so that this scoring is not counted")
    if before:
        times = "once" if len(before) == 1 else f"{len(before)} times"
        runs = len({past.get("run") for past in before})
        print(
            f"\n  scored before: {times}, {counted(runs, 'run')}; choose settings by "
            "the validation split, since the best of many scores is too good"
        )
    return len(before)


def describe(count: Mapping[str, int]) -> str:
    """Counts by how a case was seen, in words."""
    words = {SAME: "have the same pixels", NEAR_DUPLICATE: "are near duplicates"}
    words[PATIENT] = "are of the same patient"
    return ", ".join(f"{number} {words[how]}" for how, number in count.items())


def _read(folder: Path) -> pd.DataFrame:
    """The ``seen.csv`` of a run's folder, all as text.

    Raises:
        UserError: It is damaged.
    """
    try:
        table = pd.read_csv(folder / FILE, dtype=str, keep_default_na=False)
        return table[list(COLUMNS)]
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"{folder / FILE}: is damaged, so that what this run has seen is not known; train it "
            "again into another folder"
        ) from None


def _log(run: Run) -> Path:
    """Where the scorings of a run and of others on the same data are noted."""
    prepared = Path(run.config["prepared"])
    return (prepared if prepared.is_dir() else run.folder) / SCORINGS


def _scored(prepared: Prepared, splits: Sequence[str]) -> dict[str, Any]:
    """What tells scored images from others: their pixels, and not where they were prepared."""
    cases = prepared.cases()
    cases = cases[cases["split"].isin(splits)]
    pixels = sorted(set(cases["sha256"])) if "sha256" in cases else []
    return {
        "key": prepared.manifest["key"],
        "splits": list(splits),
        "pixels": content_key(pixels) if pixels and all(pixels) else "",
    }


def _scored_before(file: Path, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    # An earlier version noted no pixels.
    names = ("key", "splits")
    return [
        past
        for past in _scorings(_text(file))
        if (entry["pixels"] and past.get("pixels") == entry["pixels"])
        or all(past.get(name) == entry[name] for name in names)
    ]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _scorings(text: str) -> Iterator[dict[str, Any]]:
    """The lines of `SCORINGS`; one that was cut by a kill counts for nothing."""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _nearest(cases: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """(cases,) the row of what was seen that a case is a near duplicate of; -1 for none."""
    nearest = np.full(len(cases), -1)
    texts, seen_texts = list(cases["perceptual"]), list(seen["perceptual"])
    for start in range(0, len(cases), _CHUNK):
        shares = differences(texts[start : start + _CHUNK], seen_texts)
        best = shares.argmin(axis=1)
        near = np.take_along_axis(shares, best[:, None], 1)[:, 0] <= NEAR
        nearest[start : start + _CHUNK][near] = best[near]
    return nearest
