"""What the three prepare_data.py share: where the dataset is, and what is said at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.base.errors import UserError
from common.base.files import ROOT, sha256, write_csv
from common.base.project import Project
from common.base.settings import SharedPrepare
from common.datasets.duplicates import find_duplicate_volumes, find_duplicates
from common.datasets.patient_splits import image_split_leak, patient_groups, split_by_patient
from common.datasets.splits import TEST, VALIDATION, copies_of, is_copies, split_order
from common.records import shards as records

_NOT_IN_KEY = (
    *("preset", "source", "prepared", "workers", "overwrite"),
    *("check", "bad_files_limit"),
)

SYNTHETIC_BANNER = """
  ##############################################################################
  #  SYNTHETIC DATA: {why:<58}#
  #  Made by synthetic_sample/; it stands for no patient, and a score on it    #
  #  says nothing about medicine.                                              #
  ##############################################################################
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset's folder, and whether this repository made it up."""

    folder: Path
    synthetic: bool


def find_source(project: Project, settings: SharedPrepare) -> Source:
    """The dataset to prepare; the built-in sample, made now, where there is none.

    Raises:
        UserError: The folder that was given is not there.
    """
    if settings.source is not None:
        if not settings.source.is_dir():
            raise UserError(
                f"{settings.source}: there is no such folder; give --source the folder that the "
                "dataset was unpacked into (data/README.md)"
            )
        folder = settings.source
    elif settings.preset != "demo" and project.raw.is_dir():
        folder = project.raw
    else:
        from synthetic_sample.make_sample import make_sample

        why = "--preset demo asks for the built-in sample."
        if settings.preset != "demo":
            why = f"there is no data/raw/{project.dataset}."
        print(SYNTHETIC_BANNER.format(why=why), flush=True)
        make_sample(ROOT / "data" / "synthetic")
        folder = ROOT / "data" / "synthetic" / project.sample
    return Source(folder, (folder / "SYNTHETIC.json").exists())


def begin(
    folder: Path, source: Source, settings: SharedPrepare, all_test: bool, **made_by: Any
) -> tuple[str, dict[str, Any]] | None:
    """Begin a folder or go on with it; with ``--check`` see that nothing foreign is there.

    Args:
        folder: The prepared folder.
        source: The dataset.
        settings: Of the script.
        all_test: Whether every case is a test case.
        made_by: What else decides the data, though it is no setting: where it changes, what was
            prepared before is of another key.

    Returns:
        The key of what will be prepared, and all that decides it; None where it is there already,
        which is said.

    Raises:
        UserError: The folder holds something else.
    """
    decides = {**settings_of_data(settings), "all_test": all_test, **made_by}
    key = records.source_key(source.folder, decides)
    if settings.check:
        records.refuse_foreign(folder)
    elif not records.begin(folder, key, settings.overwrite):
        print(f"\n{folder}: is prepared already, nothing to do")
        return None
    return key, decides


def settings_of_data(settings: SharedPrepare) -> dict[str, Any]:
    """The settings that decide what the prepared data is, without places and processes."""
    # Of a file, such as --patients, the content decides and not the place.
    return {
        name: sha256(value) if isinstance(value, Path) and value.is_file() else value
        for name, value in dataclasses.asdict(settings).items()
        if name not in _NOT_IN_KEY
    }


def usable(cases: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The cases that are not left out.

    Raises:
        UserError: There is none.
    """
    left = cases[cases["left_out"] == ""]
    if left.empty:
        reasons = cases["left_out"].value_counts()
        first = f"; most often: {reasons.index[0]}" if len(reasons) else ""
        raise UserError(f"{source}: none of {len(cases)} cases can be used{first}")
    return left


def duplicates(cases: pd.DataFrame, source: Path, settings: SharedPrepare) -> pd.Series:
    """The column ``duplicate_of``: the first case with exactly the same pixels.

    It is "" for that first case, for a film that no other equals, and for what is left out.
    """
    left = cases[cases["left_out"] == ""]
    return find_duplicates(left, source, settings.workers).reindex(cases.index, fill_value="")


def describe_volumes(cases: pd.DataFrame, source: Path, settings: SharedPrepare) -> pd.Series:
    """Add the column ``duplicate_of`` to a table of volumes; give back their sizes, in words."""
    left = cases[cases["left_out"] == ""]
    found = find_duplicate_volumes(left, source, settings.workers)
    found = found.reindex(cases.index, fill_value="")
    cases["duplicate_of"] = found["duplicate_of"]
    return found["size"]


def split(
    cases: pd.DataFrame, strata: pd.Series, settings: SharedPrepare, all_test: bool
) -> pd.Series | str:
    """The split of every case, by patient; ``test`` for all where ``all_test`` is set.

    Patients who share a film or a volume (``duplicate_of``) are dealt as one.
    """
    if all_test:
        return TEST
    return split_by_patient(
        patient_groups(cases) if "duplicate_of" in cases else cases["patient"],
        strata,
        settings.validation_share,
        settings.test_share,
        settings.folds,
        settings.seed,
    )


def jobs(
    cases: pd.DataFrame, columns: Sequence[str], copies: int, seed: int, of: str = "case != ''"
) -> list[dict[str, Any]]:
    """What is to be decoded: the cases, split by split, then the copies of those that train.

    Args:
        cases: The cases that are not left out, with ``split``.
        columns: What decoding needs of a case beside ``case``, ``path`` and ``split``.
        copies: How many augmented copies of each case are wanted.
        seed: With the case and the copy, decides how a copy looks.
        of: A pandas query for the cases that are copied.

    Returns:
        Rows with ``copy``, 0 for the case itself and then from 1, and the copy's ``seed``.
        Copies stand in a split of their own, beside that of their case, so that what validates
        or tests never holds one.
    """
    rows = cases[["case", "path", "split", *columns]].to_dict("records")
    copied = set(cases.query(of)["case"])
    # Shuffled once, so that a shard holds every kind of case.
    np.random.default_rng(seed).shuffle(rows)
    order = split_order(cases["split"])
    rows.sort(key=lambda row: order.index(row["split"]))
    made = [{**row, "copy": 0, "seed": 0} for row in rows]
    for number, row in enumerate(rows):
        if row["case"] in copied and row["split"] not in (TEST, VALIDATION):
            made += [
                {
                    **row,
                    "split": copies_of(row["split"]),
                    "copy": copy,
                    "seed": (seed * 1_000_003 + number * 101 + copy * 7) % 2**31,
                }
                for copy in range(1, copies + 1)
            ]
    return made


def leave_out(cases: pd.DataFrame, unreadable: Mapping[str, str]) -> None:
    """Note in the table the cases that could not be decoded, and take them off their split."""
    reasons = cases["case"].map(dict(unreadable))
    cases["left_out"] = cases["left_out"].where(reasons.isna(), reasons)
    cases.loc[cases["left_out"] != "", "split"] = ""


def manifest(
    project: Project,
    source: Source,
    key: str,
    settings: Mapping[str, Any],
    cases: pd.DataFrame,
    shards: Mapping[str, Any],
    disk: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``manifest.json``."""
    return {
        "project": project.name,
        "dataset": source.folder.resolve().name,
        "synthetic": source.synthetic,
        "source": str(source.folder.resolve()),
        "key": key,
        "settings": settings,
        "counts": cases.loc[cases["left_out"] == "", "split"].value_counts().to_dict(),
        "left_out": int((cases["left_out"] != "").sum()),
        "disk": disk,
        "shards": shards,
    }


def write_cases(folder: Path, cases: pd.DataFrame) -> None:
    """Write ``cases.csv``: every case, also those that were left out, and why."""
    write_csv(folder / "cases.csv", cases.columns, cases.to_dict("records"))


def print_splits(cases: pd.DataFrame, groups: Mapping[str, str], settings: SharedPrepare) -> None:
    """Print the splits as a table, what was left out, and the leak that was avoided.

    Args:
        cases: All cases, with ``split`` and ``left_out``.
        groups: Title of a further column to a pandas query that its cases fulfil.
        settings: Of the run of prepare_data.py.
    """
    left = cases[cases["left_out"] == ""]
    print(f"\n  {'split':<12}{'cases':>8}{'patients':>10}" + "".join(f"{g:>12}" for g in groups))
    for split, part in left.groupby("split", sort=False):
        counts = "".join(f"{len(part.query(query)):>12}" for query in groups.values())
        print(f"  {split:<12}{len(part):>8}{part['patient'].nunique():>10}{counts}")
    reasons = cases.loc[cases["left_out"] != "", "left_out"].value_counts()
    for reason, count in list(reasons.items())[:10]:
        print(f"  left out: {count} ({reason})")
    if left["patient"].nunique() < len(left):
        share = settings.test_share or settings.validation_share
        leak = image_split_leak(left["patient"], share, settings.seed)
        print(
            f"  No patient is on two sides. A split by image would have put the patient of "
            f"{leak:.0%} of the test images into training."
        )


def print_duplicates(cases: pd.DataFrame, truth: str, columns: Sequence[str]) -> None:
    """Print how many films equal another, and what that says of patients and labels.

    Args:
        cases: All cases, with ``duplicate_of``.
        truth: What a case is labelled with, in a word.
        columns: The columns that hold it.
    """
    films = cases[cases["duplicate_of"] != ""]
    if films.empty:
        return
    originals = cases.set_index("case").loc[films["duplicate_of"]]
    across = films["patient"].to_numpy() != originals["patient"].to_numpy()
    differ = (films[columns].to_numpy() != originals[columns].to_numpy()).any(axis=1)
    said = "1 film equals another" if len(films) == 1 else f"{len(films)} films equal another"
    if across.any():
        said += f", {across.sum()} across patients (dealt together)"
    if differ.any():
        said += f", {differ.sum()} with another {truth}"
    print(f"  exact duplicates: {said}; duplicate_of in cases.csv names them")


def print_disk(
    source: Path, files: Sequence[str], shards: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Measure and print the disk that the records save against their source files.

    Args:
        source: The dataset's folder.
        files: The files that went into the records, relative to it.
        shards: The shards by split; those of augmented copies do not count, since their
            source has no file of its own for them.

    Returns:
        ``source_bytes``, ``record_bytes`` and ``saved``, a share.
    """
    source_bytes = sum((source / file).stat().st_size for file in files)
    records_bytes = sum(
        shard["bytes"] for split, of in shards.items() if not is_copies(split) for shard in of
    )
    saved = 1 - records_bytes / source_bytes
    print(
        f"  disk: {source_bytes / 1e6:.1f} MB of source files, {records_bytes / 1e6:.1f} MB of "
        f"TFRecords: {abs(saved):.0%} {'saved' if saved >= 0 else 'more'}"
    )
    return {"source_bytes": source_bytes, "record_bytes": records_bytes, "saved": saved}
