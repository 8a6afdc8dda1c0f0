"""Which images are in training, validation and test, as a file for others.

``cohort.csv`` names no person: ``case``, ``split`` and ``sha256``, that of the pixels
(`common.imaging.fingerprints`). ``prepare_data.py --split-from`` takes one, or any CSV with the
first two columns: an official split, a paper's, or one's own of last year.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from common.base.errors import UserError
from common.datasets.csv_tables import read_csv
from common.datasets.splits import TEST, TRAIN, VALIDATION

FILE = "cohort.csv"
COLUMNS = ("case", "split", "sha256")
NO_SPLIT = "no split"
"""The check of a case that the file does not name."""

_SUFFIX = re.compile(r"\.(dcm|dicom|png|jpe?g|nii(\.gz)?)$", re.IGNORECASE)
_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}


def read_cohort(file: Path) -> pd.DataFrame:
    """The ``split`` and, "" if not given, ``sha256`` of each case, by case.

    Raises:
        UserError: The file is no such CSV, or a split in it is none.
    """
    _, rows = read_csv(file, ["case", "split"])
    entries: dict[str, tuple[str, str]] = {}
    for line, row in rows:
        name = row["split"].lower()
        split = name if re.fullmatch(r"fold-\d+", name) else _SPLITS.get(name)
        if split is None:
            raise UserError(
                f"{file}: row {line}: {row['split']!r} is no split; write train, validation, test, "
                "or fold-0, fold-1 and so on"
            )
        entry = split, row.get("sha256", "")
        if entries.setdefault(_SUFFIX.sub("", row["case"]), entry) != entry:
            raise UserError(f"{file}: row {line}: {row['case']} is in two splits; correct it")
    return pd.DataFrame.from_dict(entries, orient="index", columns=["split", "sha256"])


def split_as(cases: pd.DataFrame, file: Path) -> pd.Series:
    """The split of each case by a file; "" for one that it does not name.

    Raises:
        UserError: It names none of the cases.
    """
    splits = cases["case"].map(read_cohort(file)["split"]).fillna("")
    if not splits.any():
        raise UserError(
            f"{file}: names none of the {len(cases)} cases, such as {cases['case'].iloc[0]}; give "
            "--split-from a file of this dataset"
        )
    return splits


def on_two_sides(cases: pd.DataFrame) -> int:
    """How many patients have cases in more than one split."""
    return int((cases.groupby("patient")["split"].nunique() > 1).sum())
