"""The check of a dataset: every finding in a table and a CSV, with what is done about it.

What is wrong with a case leaves it out, and the reason stands in its row of the table of cases as
"CHECK: what was found"; the others go on. What else was found is kept and told. The checks are
those of nnU-Net's ``verify_dataset_integrity`` (Isensee et al. 2021, 10.1038/s41592-020-01008-z)
and more. Pixels are looked at where they are decoded for the records, and not a second time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from common.base.errors import UserError
from common.base.files import write_csv
from common.base.settings import SharedPrepare
from common.base.tables import Table, print_table
from common.records.outcomes import Case, Features, try_cases
from common.records.shards import FINDINGS, write_shards

if TYPE_CHECKING:
    import pandas as pd

LEFT_OUT, KEPT, REPAIRED = "left out", "kept", "repaired"

_FEWEST_ALLOWED = 3
_SHOWN_SIZES = 5
_TEST_FOLDERS = ("stage_2_test_images", "imagesTs")

# Reasons that say of a case what the dataset does not have or want, and of no file that it is bad.
_ABSENT = ("no image", "no mask", "no label", "not in dataset.json")

_FILES = ("no image", "several files", "image not used", "extra file", "unusable id", "unreadable")
_PIXELS = ("constant image", "exact duplicate", "several sizes")
_SETS = ("also a test image", "free disk")
_FILMS = (
    *_FILES, "no label", "conflicting labels", "several boxes", "incomplete box",
    "box without area", "box leaves the image", *_PIXELS, *_SETS,
)  # fmt: skip
_VOLUMES = (
    *_FILES, "no mask", "not in dataset.json", "outside the dataset", "several channels",
    "NaN or infinite", "mask on another grid", "mask values", "empty mask", *_PIXELS, *_SETS,
)  # fmt: skip


class Finding(NamedTuple):
    """Something that a check found.

    Attributes:
        where: A case, a file as its path from the dataset, or "" for the dataset.
        check: The name of the check.
        found: What was found, in words.
        action: `LEFT_OUT`, `KEPT` or `REPAIRED`.
    """

    where: str
    check: str
    found: str
    action: str


class DatasetCheck:
    """The check of one dataset, from its table of cases to the last pixel.

    Args:
        source: The dataset's folder.
        folder: The prepared folder, where findings.csv is written.
        settings: Of prepare_data.py.
    """

    def __init__(self, source: Path, folder: Path, settings: SharedPrepare) -> None:
        self.source, self.folder, self.settings = source, folder, settings
        self._kept: list[Finding] = []

    def look(self, cases: pd.DataFrame, sizes: pd.Series, truth: Sequence[str] = ()) -> None:
        """Note what the files and the table of cases say, without decoding.

        Args:
            cases: With ``case``, ``path``, ``patient``, ``duplicate_of``, ``left_out`` and, of
                volumes, ``mask_path``.
            sizes: (cases,) the size of each image, in words; "" where it is not known.
            truth: The columns that hold what a case is labelled with.
        """
        self._kept += _unused(self.source, cases)
        self._kept += _sizes(sizes)
        self._kept += _duplicates(cases, list(truth))
        self._kept += _also_test(self.source, cases)
        self._kept += _disk(self.source, self.folder, cases)

    def usable(self, cases: pd.DataFrame) -> pd.DataFrame:
        """The cases that are not left out.

        Raises:
            UserError: There is none, or more are bad than the settings allow; the findings are
                written and the table is printed.
        """
        try:
            self._refuse(cases)
            return usable(cases, self.source)
        except UserError:
            self.tell(cases)
            raise

    def decode(
        self,
        jobs: Sequence[Case],
        decode: Callable[[Case], Features],
        cases_a_shard: int,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """`common.records.shards.write_shards`; with ``--check`` the same, which writes nothing."""
        workers = self.settings.workers
        if self.settings.check:
            shards, (left_out, remarks) = {}, try_cases(decode, jobs, workers)
        else:
            shards, left_out = write_shards(self.folder, jobs, decode, cases_a_shard, workers)
            told = [shard.get("remarks", {}) for of in shards.values() for shard in of]
            remarks = {case: remark for one in told for case, remark in one.items()}
        for case, remark in remarks.items():
            self._kept.append(Finding(case, *_parted(remark), KEPT))
        return shards, left_out

    def tell(self, cases: pd.DataFrame) -> None:
        """Write findings.csv and print the table of all checks."""
        findings = sorted({*self._of_cases(cases), *self._kept})
        write_csv(
            self.folder / FINDINGS,
            Finding._fields,
            [finding._asdict() for finding in findings],
        )
        names = _VOLUMES if "mask_path" in cases else _FILMS
        rows = []
        for check in names:
            found = [finding for finding in findings if finding.check == check]
            actions = ", ".join(sorted({finding.action for finding in found}))
            where = ascii(found[0].where)[1:-1] if found else ""
            rows.append((check, str(len(found)), actions, where))
        title = f"check of {len(cases)} cases"
        print_table(Table(title, ("check", "found", "done", "first"), tuple(rows)))
        print(f"  {len(findings)} findings: {self.folder / FINDINGS}")

    def _of_cases(self, cases: pd.DataFrame) -> Iterator[Finding]:
        for case, left_out in zip(cases["case"], cases["left_out"], strict=True):
            if left_out:
                check, found = _parted(left_out)
                yield Finding(case, check, found.replace(f"{self.source}{os.sep}", ""), LEFT_OUT)

    def _refuse(self, cases: pd.DataFrame) -> None:
        bad = [finding for finding in self._of_cases(cases) if finding.check not in _ABSENT]
        limit = self.settings.bad_files_limit
        allowed = limit if limit >= 1 or not limit else max(_FEWEST_ALLOWED, limit * len(cases))
        if len(bad) <= allowed:
            return
        first = bad[0]
        raise UserError(
            f"{self.source}: {len(bad)} of {len(cases)} cases cannot be used, more than "
            f"--bad-files-limit {limit:g} allows; the first: {first.where}, {first.check}"
            f"{': ' if first.found else ''}{first.found}; correct them, or raise the limit "
            f"({self.folder / FINDINGS} names all)"
        )


def _parted(text: str) -> tuple[str, str]:
    """Part "CHECK: what was found"; what names no check is a reader's refusal."""
    check, _, found = text.partition(": ")
    return (check, found) if check in (*_FILMS, *_VOLUMES) else ("unreadable", text)


def _stem_and_suffix(path: str) -> tuple[str, str]:
    """Part a file's name; that of an image may be a UID, which is full of dots."""
    name = PurePosixPath(path).name
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else PurePosixPath(name).suffix
    return name[: len(name) - len(suffix)], suffix.lower()


def _unused(source: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    """The files that lie among the images and masks and belong to no case."""
    columns = [column for column in ("path", "mask_path") if column in cases]
    used = {path for column in columns for path in cases[column] if path}
    suffixes = {_stem_and_suffix(path)[1] for path in used}
    for folder in sorted({str(PurePosixPath(path).parent) for path in used}):
        for file in sorted((source / folder).iterdir()):
            path = file.relative_to(source).as_posix()
            # Images that lie in the dataset's folder itself have its tables beside them.
            if path in used or (folder == "." and file.suffix.lower() != ".dcm"):
                continue
            name = ascii(path)[1:-1]
            if (
                _stem_and_suffix(path)[1] in suffixes
                and not file.name.startswith(".")
                and file.is_file()
            ):
                yield Finding(name, "image not used", "no case has this file", LEFT_OUT)
            else:
                yield Finding(name, "extra file", "no image", LEFT_OUT)


def _sizes(sizes: pd.Series) -> Iterator[Finding]:
    counts = sizes[sizes != ""].value_counts()
    if len(counts) > 1:
        most = ", ".join(f"{size} ({count})" for size, count in counts[:_SHOWN_SIZES].items())
        more = f" and {len(counts) - _SHOWN_SIZES} more" if len(counts) > _SHOWN_SIZES else ""
        yield Finding("", "several sizes", f"{most}{more}; resampled", REPAIRED)


def _duplicates(cases: pd.DataFrame, truth: list[str]) -> Iterator[Finding]:
    rows = cases.set_index("case")
    for case, row in rows[rows["duplicate_of"] != ""].iterrows():
        first = rows.loc[row["duplicate_of"]]
        found = f"equals {row['duplicate_of']}"
        if row["patient"] != first["patient"]:
            found += ", of another patient: the two are dealt as one"
        if truth and list(row[truth]) != list(first[truth]):
            found += ", with another label"
        yield Finding(case, "exact duplicate", found, KEPT)


def _also_test(source: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    """Cases of which the dataset's own test folder has an image, where it has such a folder."""
    for folder in _TEST_FOLDERS:
        if not (source / folder).is_dir():
            continue
        names = {_stem_and_suffix(path.name)[0] for path in (source / folder).iterdir()}
        for case, path in zip(cases["case"], cases["path"], strict=True):
            if path and _stem_and_suffix(path)[0] in names:
                yield Finding(case, "also a test image", f"the same name is in {folder}/", KEPT)


def _disk(source: Path, folder: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    files = [path for column in ("path", "mask_path") if column in cases for path in cases[column]]
    needed = sum((source / path).stat().st_size for path in files if path)
    free = shutil.disk_usage(folder).free
    if free < needed:
        found = f"{free / 1e6:.0f} MB are free, the source files have {needed / 1e6:.0f} MB"
        yield Finding("", "free disk", f"{found}; what is written is kept if it ends", KEPT)


def sizes_of(cases: pd.DataFrame) -> pd.Series:
    """The size of each film, "" where its header can't be read."""
    words = cases["rows"].astype(str) + " x " + cases["columns"].astype(str)
    return words.where(cases["rows"] > 0, "")


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
