"""The check of a dataset: every finding in a table and a CSV, with what is done about it.

A case that cannot be used is left out, and its row of the table of cases gives the reason as
"CHECK: detail"; the other cases go on. All other findings are reported and their cases kept. The
checks are those of nnU-Net's ``verify_dataset_integrity`` (Isensee et al. 2021,
10.1038/s41592-020-01008-z) and more. Pixels are checked where they are decoded for the records,
and not a second time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from common.base.errors import UserError
from common.base.files import write_csv
from common.base.settings import SharedPrepare
from common.base.tables import Table, print_table
from common.datasets.cohort import NO_SPLIT, entries_of, on_two_sides
from common.datasets.patients import BY_IMAGE, MEND
from common.records.outcomes import Case, Features, try_cases
from common.records.shards import FINDINGS, Shards, write_shards

LEFT_OUT, KEPT, REPAIRED = "left out", "kept", "repaired"

# A share of a small dataset allows this number of bad cases at least.
_MIN_ALLOWED = 3
# The sizes that a finding lists.
_MAX_SIZES = 5
# The images without labels, as Kaggle's RSNA and the Decathlon name their folder.
_TEST_FOLDERS = ("stage_2_test_images", "imagesTs")

# Reasons to leave a case out that call no file bad: the dataset lacks or does not want something.
_ABSENT = ("no image", "no mask", "no label", "not in dataset.json", NO_SPLIT)

_UNKNOWN, _TWO_SIDES, _OTHER = "patients unknown", "patient on two sides", "other pixels"
_MISSING = "cases of the split missing"
# The names of the checks: of all datasets, of films, of volumes.
_FILES = ("no image", "several files", "image not used", "extra file", "unusable id", "unreadable")
_PIXELS = ("constant image", "exact duplicate", "several sizes")
_SETS = ("also a test image", _UNKNOWN, _TWO_SIDES, NO_SPLIT, _MISSING, _OTHER, "free disk")
_FILMS = (
    *_FILES, "no label", "conflicting labels", "several boxes", "incomplete box",
    "box without area", "box leaves the image", *_PIXELS, *_SETS,
)  # fmt: skip
_VOLUMES = (
    *_FILES, "no mask", "not in dataset.json", "outside the dataset", "several channels",
    "NaN or infinite", "mask on another grid", "mask values", "empty mask", *_PIXELS, *_SETS,
)  # fmt: skip


class Finding(NamedTuple):
    """A row of findings.csv.

    Attributes:
        where: A case, a file as its path from the dataset, or "" for the dataset.
        check: The name of the check.
        detail: The finding in words.
        action: `LEFT_OUT`, `KEPT` or `REPAIRED`.
    """

    where: str
    check: str
    detail: str
    action: str


# The columns of findings.csv.
_COLUMNS = ("where", "check", "found", "action")


class DatasetCheck:
    """The check of one dataset, from its table of cases to the last pixel.

    Args:
        source: The dataset's folder.
        folder: The prepared folder, where findings.csv is written.
        settings: The settings of prepare_data.py.
    """

    def __init__(self, source: Path, folder: Path, settings: SharedPrepare) -> None:
        self.source, self.folder, self.settings = source, folder, settings
        self._kept: list[Finding] = []

    def check_table(self, cases: pd.DataFrame, sizes: pd.Series, truth: Sequence[str] = ()) -> None:
        """Check the files and the table of cases, without decoding.

        Args:
            cases: With ``case``, ``path``, ``patient``, ``duplicate_of``, ``left_out`` and, of
                volumes, ``mask_path``.
            sizes: (cases,) the size of each image, in words; "" where it is unknown.
            truth: The columns that hold a case's label.
        """
        self._kept += _unused(self.source, cases)
        self._kept += _sizes(sizes)
        self._kept += _duplicates(cases, list(truth), self.settings.split_from is None)
        self._kept += _also_test(self.source, cases)
        if cases.attrs.get("patients_remark"):
            self._kept.append(Finding("", _UNKNOWN, cases.attrs["patients_remark"], KEPT))
        self._kept += _disk(self.source, self.folder, cases)

    def check_split(self, cases: pd.DataFrame, cohort: pd.DataFrame, file: Path) -> None:
        """Check a split that was given: that nobody is on two sides, and all its images are here.

        Args:
            cases: The usable cases, with ``patient``, ``split`` and ``sha256``.
            cohort: Of `common.datasets.cohort.read_cohort`.
            file: What it was read from.
        """
        entries = entries_of(cases, cohort, file)
        present = entries["split"].value_counts()
        missing = cohort["split"].value_counts().sub(present, fill_value=0).clip(0).astype(int)
        if count := missing.sum():
            by_split = ", ".join(f"{n} of {split}" for split, n in missing[missing > 0].items())
            detail = f"{count} of {len(cohort)} in {file.name} are not here, or left out"
            self._kept.append(Finding("", _MISSING, f"{detail} ({by_split})", KEPT))
        if count := on_two_sides(cases):
            detail = f"{count} patients are on two sides of the split in {file.name}"
            self._kept.append(Finding("", _TWO_SIDES, detail, KEPT))
        expected = entries["sha256"]
        for case in cases["case"][(expected != "") & (expected != cases["sha256"])]:
            self._kept.append(Finding(case, _OTHER, f"than in {file.name}", KEPT))

    def usable(self, cases: pd.DataFrame) -> pd.DataFrame:
        """The cases that are not left out.

        Raises:
            UserError: No case is usable, or more are bad than the settings allow; the findings
                are written and printed first.
        """
        try:
            self._refuse(cases)
            return usable(cases, self.source)
        except UserError:
            self.report(cases)
            raise

    def decode(
        self, jobs: Sequence[Case], decode: Callable[[Case], Features], cases_per_shard: int
    ) -> tuple[Shards, dict[str, str]]:
        """`common.records.shards.write_shards`; with ``--check`` the same, which writes nothing."""
        shards: Shards = {}
        remarks: dict[str, str] = {}
        if self.settings.check:
            left_out, remarks = try_cases(decode, jobs, self.settings.workers)
        else:
            shards, left_out = write_shards(
                self.folder, jobs, decode, cases_per_shard, self.settings.workers
            )
            for shard in chain.from_iterable(shards.values()):
                remarks |= shard.get("remarks", {})
        for case, remark in remarks.items():
            self._kept.append(Finding(case, *_check_and_detail(remark), KEPT))
        return shards, left_out

    def report(self, cases: pd.DataFrame) -> None:
        """Write findings.csv and print the table of all checks."""
        findings = sorted({*self._of_cases(cases), *self._kept})
        rows = [dict(zip(_COLUMNS, finding, strict=True)) for finding in findings]
        write_csv(self.folder / FINDINGS, _COLUMNS, rows)
        names = _VOLUMES if "mask_path" in cases else _FILMS
        counts = []
        for check in names:
            matching = [finding for finding in findings if finding.check == check]
            actions = ", ".join(sorted({finding.action for finding in matching}))
            first = ascii(matching[0].where)[1:-1] if matching else ""
            counts.append((check, str(len(matching)), actions, first))
        title = f"check of {len(cases)} cases"
        print_table(Table(title, ("check", "found", "done", "first"), tuple(counts)))
        print(f"  {len(findings)} findings: {self.folder / FINDINGS}")
        meanings = {
            _UNKNOWN: f": {BY_IMAGE}; {MEND}",
            _TWO_SIDES: ", so scores on them are too good",
            _MISSING: ", so scores are not those of the same cases",
        }
        for finding in findings:
            if finding.check in meanings:
                print(f"  {finding.check.upper()}: {finding.detail}{meanings[finding.check]}")

    def _of_cases(self, cases: pd.DataFrame) -> Iterator[Finding]:
        for case, left_out in zip(cases["case"], cases["left_out"], strict=True):
            if left_out:
                check, detail = _check_and_detail(left_out)
                yield Finding(case, check, detail.replace(f"{self.source}{os.sep}", ""), LEFT_OUT)

    def _refuse(self, cases: pd.DataFrame) -> None:
        bad = [finding for finding in self._of_cases(cases) if finding.check not in _ABSENT]
        limit = self.settings.bad_files_limit
        allowed = limit if limit >= 1 or not limit else max(_MIN_ALLOWED, limit * len(cases))
        if len(bad) <= allowed:
            return
        first = bad[0]
        raise UserError(
            f"{self.source}: {len(bad)} of {len(cases)} cases cannot be used, more than "
            f"--bad-files-limit {limit:g} allows; the first: {first.where}, {first.check}"
            f"{': ' if first.detail else ''}{first.detail}; correct them, or raise the limit "
            f"({self.folder / FINDINGS} names all)"
        )


def _check_and_detail(reason: str) -> tuple[str, str]:
    """Split "CHECK: detail"; a reason that names no check is a reader's refusal."""
    check, _, detail = reason.partition(": ")
    return (check, detail) if check in (*_FILMS, *_VOLUMES) else ("unreadable", reason)


def _stem_and_suffix(path: str) -> tuple[str, str]:
    """Split a file's name; that of an image may be a UID, which is full of dots."""
    name = PurePosixPath(path).name
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else PurePosixPath(name).suffix
    return name[: len(name) - len(suffix)], suffix.lower()


def _unused(source: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    """The files that lie among the images and masks and belong to no case."""
    used = {path for column in ("path", "mask_path") for path in cases.get(column, ()) if path}
    suffixes = {_stem_and_suffix(path)[1] for path in used}
    for folder in sorted({str(PurePosixPath(path).parent) for path in used}):
        for file in sorted((source / folder).iterdir()):
            path = file.relative_to(source).as_posix()
            # The dataset's folder itself holds its tables too.
            if path in used or (folder == "." and file.suffix.lower() != ".dcm"):
                continue
            name = ascii(path)[1:-1]
            is_image = _stem_and_suffix(path)[1] in suffixes and file.is_file()
            if is_image and not file.name.startswith("."):
                yield Finding(name, "image not used", "no case has this file", LEFT_OUT)
            else:
                yield Finding(name, "extra file", "no image", LEFT_OUT)


def _sizes(sizes: pd.Series) -> Iterator[Finding]:
    counts = sizes[sizes != ""].value_counts()
    if len(counts) > 1:
        most = ", ".join(f"{size} ({count})" for size, count in counts[:_MAX_SIZES].items())
        more = f" and {len(counts) - _MAX_SIZES} more" if len(counts) > _MAX_SIZES else ""
        yield Finding("", "several sizes", f"{most}{more}; resampled", REPAIRED)


def _duplicates(cases: pd.DataFrame, truth: list[str], are_dealt: bool) -> Iterator[Finding]:
    rows = cases.set_index("case")
    for case, row in rows[rows["duplicate_of"] != ""].iterrows():
        first = rows.loc[row["duplicate_of"]]
        detail = f"equals {row['duplicate_of']}"
        if row["patient"] != first["patient"]:
            detail += f", of another patient{': the two are dealt as one' if are_dealt else ''}"
        if truth and list(row[truth]) != list(first[truth]):
            detail += ", with another label"
        yield Finding(str(case), "exact duplicate", detail, KEPT)


def _also_test(source: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    """Cases with the name of an image in the dataset's own test folder."""
    for folder in _TEST_FOLDERS:
        if not (source / folder).is_dir():
            continue
        names = {_stem_and_suffix(path.name)[0] for path in (source / folder).iterdir()}
        for case, path in zip(cases["case"], cases["path"], strict=True):
            if path and _stem_and_suffix(path)[0] in names:
                yield Finding(case, "also a test image", f"the same name is in {folder}/", KEPT)


def _disk(source: Path, folder: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    files = [path for column in ("path", "mask_path") for path in cases.get(column, ()) if path]
    needed = sum((source / path).stat().st_size for path in files)
    free = shutil.disk_usage(folder).free
    if free < needed:
        detail = f"{free / 1e6:.0f} MB are free, the source files have {needed / 1e6:.0f} MB"
        yield Finding("", "free disk", f"{detail}; what is written is kept if it ends", KEPT)


def sizes_of(cases: pd.DataFrame) -> pd.Series:
    """The size of each film, "" where its header can't be read."""
    sizes = cases["rows"].astype(str) + " x " + cases["columns"].astype(str)
    return sizes.where(cases["rows"] > 0, "")


def usable(cases: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The cases that are not left out.

    Raises:
        UserError: No case is usable.
    """
    kept = cases[cases["left_out"] == ""]
    if kept.empty:
        reasons = cases["left_out"].value_counts()
        first = f"; most often: {reasons.index[0]}" if len(reasons) else ""
        raise UserError(f"{source}: none of {len(cases)} cases can be used{first}")
    return kept
