"""Which images are in training, validation and test, as a file for others.

``cohort.csv`` names no person: ``case``, ``split`` and ``sha256``, that of the pixels
(`common.imaging.fingerprints`). ``prepare_data.py --split-from`` takes one, or any CSV with the
first two columns: an official split, a paper's, or one's own of last year.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from common.base.errors import UserError
from common.datasets.csv_tables import read_csv
from common.datasets.splits import TEST, TRAIN, VALIDATION, fold_name, folds_in
from common.imaging.image_files import image_id
from common.imaging.volume_names import stem

FILE = "cohort.csv"
COLUMNS = ("case", "split", "sha256")
NO_SPLIT = "no split"
"""The check of a case that the file does not name."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}


def read_cohort(file: Path) -> pd.DataFrame:
    """The ``split`` and, "" if not given, ``sha256`` of each case, by case.

    Raises:
        UserError: The file is no such CSV, a split in it is none, or its folds make no
            cross-validation.
    """
    _, rows = read_csv(file, ["case", "split"])
    entries: dict[str, tuple[str, str]] = {}
    for line, row in rows:
        name = row["split"].lower()
        split = name if folds_in([name]) else _SPLITS.get(name)
        if split is None:
            raise UserError(
                f"{file}: row {line}: {row['split']!r} is no split; write train, validation, test, "
                "or fold-0, fold-1 and so on"
            )
        entry = split, row.get("sha256", "")
        known = entries.setdefault(_name(row["case"]), entry)
        if known != entry:
            what = "splits" if known[0] != split else "rows with another sha256"
            raise UserError(f"{file}: row {line}: {row['case']} is in two {what}; correct it")
    splits = {split for split, _ in entries.values()}
    folds = folds_in(sorted(splits))
    expected = {fold_name(number) for number in range(max(2, len(folds)))}
    if folds and splits - {TEST} != expected:
        raise UserError(
            f"{file}: has the splits {', '.join(sorted(splits))}; number folds from 0 without "
            "gaps, two at least, and call all others test"
        )
    return pd.DataFrame.from_dict(entries, orient="index", columns=["split", "sha256"])


def entries_of(cases: pd.DataFrame, cohort: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The row of `read_cohort` of each case; "" in one that it does not name.

    Raises:
        UserError: It names none of the cases.
    """
    entries = cohort.reindex(_names(cases)).fillna("").set_index(cases.index)
    if not entries["split"].any():
        raise UserError(
            f"{file}: names none of the {len(cases)} cases, such as {cases['case'].iloc[0]}; give "
            "--split-from a file of this dataset"
        )
    return entries


def missing_of(cases: pd.DataFrame, cohort: pd.DataFrame) -> dict[str, str]:
    """The split of each case of `read_cohort` that is not among the cases."""
    return dict(cohort.loc[~cohort.index.isin(_names(cases)), "split"])


def on_two_sides(cases: pd.DataFrame) -> dict[str, str]:
    """The cases of each patient who is in more than one split: "train a, b; test c"."""
    is_torn = cases.groupby("patient")["split"].transform("nunique") > 1
    return {
        str(patient): "; ".join(
            f"{split} {', '.join(part['case'])}"
            for split, part in of_patient.groupby("split", sort=False)
        )
        for patient, of_patient in cases[is_torn].groupby("patient")
    }


def _names(cases: pd.DataFrame) -> pd.Series[str]:
    return cases["case"].map(_name)


def _name(case: str) -> str:
    """A case without the suffix of a film or volume, which either table may have."""
    return image_id(stem(case))
