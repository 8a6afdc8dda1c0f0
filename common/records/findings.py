"""The check of a dataset: every finding in a table and a CSV, with what is done about it.

A case that cannot be used is left out, and its row of the table of cases gives the reason as
"CHECK: detail"; the other cases go on. All other findings are reported and their cases kept. The
checks are those of nnU-Net's ``verify_dataset_integrity`` (Isensee et al. 2021,
10.1038/s41592-020-01008-z) and more. Pixels are checked where they are decoded for the records,
and not a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from common.base.cluster import Cluster
from common.base.errors import UserError
from common.base.files import write_csv
from common.base.printing import as_printed
from common.base.settings import SharedPrepare
from common.base.tables import Table, print_table
from common.datasets.class_folders import OFFICIAL
from common.datasets.cohort import NO_SPLIT, entries_of, missing_of, on_two_sides
from common.datasets.duplicates import find_late_duplicates, on_other_sides
from common.datasets.images import OTHER_CASE
from common.datasets.patients import BY_IMAGE, MEND, OVER_IMAGES
from common.datasets.published import table_name
from common.datasets.repairs import TABLE, Repair
from common.records.file_findings import (
    KEPT,
    LEFT_OUT,
    REPAIRED,
    Finding,
    also_test,
    disk,
    equal_cases,
    missing_images,
    several_sizes,
    unused,
)
from common.records.names import Names
from common.records.official import absent_classes
from common.records.outcomes import WARNING, Case, Features, try_cases
from common.records.shards import FINDINGS, Shards, write_shards

# A share of a small dataset allows this number of bad cases at least.
_MIN_ALLOWED = 3
# Reasons to leave a case out that call no file bad: the dataset lacks or does not want something.
_ABSENT = ("no image", "no mask", "no label", "not in dataset.json", NO_SPLIT)

_UNKNOWN, _TWO_SIDES, _OTHER = "patients unknown", "patient on two sides", "other pixels"
_EQUAL = "equal pixels on two sides"
_MISSING, _NO_CLASS = "cases of the split missing", "class not in a split"
# The names of the checks: of all datasets, of films, of volumes.
_FILES = (
    "no image",
    "several files",
    "image not used",
    "extra file",
    "not followed",
    "unusable id",
    OTHER_CASE,
    "unreadable",
)
_PIXELS = ("constant image", "exact duplicate", "several sizes")
_ONE_CLASS = "one class"
_ODD = "odd picture"
_SETS = (
    *(TABLE, WARNING, _ONE_CLASS, "also a test image", _UNKNOWN, _TWO_SIDES, NO_SPLIT),
    *(_NO_CLASS, _MISSING, _OTHER, "free disk"),
)
_FILMS = (
    *_FILES, "no label", "conflicting labels", "several boxes", "incomplete box",
    "box without area", "box leaves the image", "another kind", _ODD, *_PIXELS, *_SETS,
)  # fmt: skip
_VOLUMES = (
    *_FILES, "no mask", "not in dataset.json", "outside the dataset", "several channels",
    "another case's mask",
    "NaN or infinite", "mask on another grid", "mask values", "empty mask", *_PIXELS, *_SETS,
)  # fmt: skip


# The columns of findings.csv.
_COLUMNS = ("where", "check", "found", "action")


class DatasetCheck:
    """The check of one dataset, from its table of cases to the last pixel.

    Args:
        source: The dataset's folder.
        folder: The prepared folder, where findings.csv is written.
        settings: The settings of prepare_data.py.
        all_test: Whether nothing is split, since every case is a test case.
        repairs: What was repaired (`common.datasets.repairs`); read when the table of cases is
            checked.
        names: What cases and files are called.
    """

    def __init__(
        self,
        source: Path,
        folder: Path,
        settings: SharedPrepare,
        all_test: bool = False,
        repairs: Iterable[Repair] = (),
        names: Names | None = None,
    ) -> None:
        self.source, self.folder, self.settings = source, folder, settings
        self._names = names or Names(source, folder, settings.ids)
        self._all_test, self._repairs = all_test, repairs
        self._kept: list[Finding] = []
        self._warnings: list[str] = []

    def check_table(
        self,
        cases: pd.DataFrame,
        sizes: pd.Series,
        truth: Sequence[str] = (),
        source_bytes: int = 0,
    ) -> None:
        """Check the files and the table of cases, without decoding.

        Args:
            cases: With ``case``, ``path``, ``patient``, ``duplicate_of``, ``left_out`` and, of
                volumes, ``mask_path``.
            sizes: (cases,) the size of each image, in words; "" where it is unknown.
            truth: The columns that hold a case's label.
            source_bytes: The bytes of all cases' files.
        """
        self._kept += disk(self.folder, source_bytes)
        self._kept += [Finding(*repair, REPAIRED) for repair in self._repairs]
        self._kept += unused(self.source, cases, self.folder)
        self._kept += several_sizes(sizes)
        are_dealt = self.settings.split_from is None and OFFICIAL not in cases
        self._kept += equal_cases(cases, list(truth), are_dealt)
        self._kept += also_test(self.source, cases)
        self._warnings += missing_images(cases)
        if one_class := _one_class(cases, truth):
            self._kept.append(Finding("", _ONE_CLASS, one_class, KEPT))
            self._warnings.append(f"{_ONE_CLASS.upper()}: {one_class}; add cases of the other")
        if remark := cases.attrs.get("patients_remark"):
            self._kept += _unknown_patients(cases, remark)
            meaning = cases.attrs.get("patients_meaning", BY_IMAGE)
            meaning = OVER_IMAGES if self._all_test else meaning
            self._warnings.append(f"{_UNKNOWN.upper()}: {remark}: {meaning}; {MEND}")

    def check_pixels(self, cases: pd.DataFrame, truth: Sequence[str]) -> None:
        """Fill in ``duplicate_of`` where pixels turned out equal as they were decoded.

        Args:
            cases: As of `common.datasets.duplicates.find_late_duplicates`, with ``split``.
            truth: The columns that hold a case's label.
        """
        late = find_late_duplicates(cases)
        of_late = cases.assign(duplicate_of=late)
        self._kept += equal_cases(of_late, list(truth), are_dealt=False)
        if apart := int(on_other_sides(of_late).sum()):
            self._warnings.append(
                f"{_EQUAL.upper()}: {apart} of {len(cases)} cases equal one on another side, in "
                "other bytes, so scores may be too good; take one of each away, or give both one "
                "patient with --patients (duplicate_of in cases.csv names them)"
            )
        cases["duplicate_of"] = late.where(late != "", cases["duplicate_of"])

    def check_split(self, cases: pd.DataFrame, cohort: pd.DataFrame, file: Path) -> None:
        """Check a split that was given: that nobody is on two sides, and all its images are here.

        Args:
            cases: The usable cases, with ``patient``, ``split`` and ``sha256``.
            cohort: Of `common.datasets.cohort.read_cohort`.
            file: What it was read from.
        """
        entries, name = entries_of(cases, cohort, file), table_name(file.name)
        if missing := missing_of(cases, cohort):
            counts = sorted(Counter(missing.values()).items())
            by_split = ", ".join(f"{count} of {split}" for split, count in counts)
            self._warnings.append(
                f"{_MISSING.upper()}: {len(missing)} of {len(cohort)} in {file.name} are not here, "
                f"or left out ({by_split}), so scores are not those of the same cases"
            )
        for case, split in missing.items():
            detail = f"{split} in {name}, but not here, or left out"
            self._kept.append(Finding(case, _MISSING, detail, KEPT))
        self._check_sides(cases, f"the split in {file.name}", name)
        expected = entries["sha256"]
        others = cases["case"][(expected != "") & (expected != cases["sha256"])]
        if len(others):
            self._warnings.append(
                f"{_OTHER.upper()}: {len(others)} of {len(cases)} cases have other pixels than in "
                f"{file.name}: the same cases in another resolution or coding, or other ones of "
                "the same name; expect another number"
            )
        for case in others:
            self._kept.append(Finding(case, _OTHER, f"than in {name}", KEPT))

    def check_official(self, cases: pd.DataFrame) -> None:
        """Check the dataset's own split, in ``split``: its patients' sides, and its classes."""
        own = "the dataset's own split"
        self._check_sides(cases[cases["split"] != ""], own, own)

    def check_dealt(self, cases: pd.DataFrame) -> None:
        """Check the classes of a split that was dealt here; its patients are on one side each."""
        self._check_classes(
            cases, "the dealt split", "the dealt split",
            "are its patients too few for all splits? add some, or give another --seed, fewer "
            "--folds, or a larger --validation-share and --test-share",
        )  # fmt: skip

    def _check_sides(self, cases: pd.DataFrame, split: str, where: str) -> None:
        torn = on_two_sides(cases)
        if torn:
            self._warnings.append(
                f"{_TWO_SIDES.upper()}: {len(torn)} patients are on two sides of {split}, so "
                "scores on them are too good"
            )
        for patient, sides in torn.items():
            self._kept.append(Finding(patient, _TWO_SIDES, f"{sides} in {where}", KEPT))
        self._check_classes(
            cases, split, where,
            "is a folder or a part of a table missing, or a class called by two names? complete "
            "it, or deal another split with --own-split",
        )  # fmt: skip

    def _check_classes(self, cases: pd.DataFrame, split: str, where: str, mend: str) -> None:
        if absent := absent_classes(cases):
            details = [f"{side} has no {', '.join(names)}" for side, names in absent.items()]
            self._warnings.append(
                f"{_NO_CLASS.upper()}: of {split} {'; '.join(map(as_printed, details))}: scores of "
                f"a class need cases of it: {mend}"
            )
            self._kept += [Finding("", _NO_CLASS, f"{text} in {where}", KEPT) for text in details]

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
        self,
        jobs: Sequence[Case],
        decode: Callable[[Case], Features],
        cases_per_shard: int,
        kept: Sequence[str] = (),
        cluster: Cluster | None = None,
    ) -> tuple[Shards, dict[str, str], dict[str, Features]]:
        """`common.records.shards.write_shards`; with ``--check`` the same, which writes nothing.

        With ``--check`` the third are the ``kept`` features of each case, which else are in the
        records.
        """
        shards: Shards = {}
        remarks: dict[str, str] = {}
        features: dict[str, Features] = {}
        if self.settings.check:
            workers = self.settings.workers
            left_out, remarks, features = try_cases(decode, jobs, workers, kept)
        else:
            shards, left_out = write_shards(
                self.folder, jobs, decode, cases_per_shard, self.settings.workers, cluster
            )
            for shard in chain.from_iterable(shards.values()):
                remarks |= shard.get("remarks", {})
        counts: Counter[str] = Counter()
        for case, lines in remarks.items():
            for check, detail in map(_check_and_detail, lines.split("\n")):
                if check == WARNING:
                    counts[detail] += 1
                else:
                    self._kept.append(Finding(case, check, detail, KEPT))
        for kind, count in counts.items():
            self._kept.append(Finding("", WARNING, f"{kind}, in {count} cases", KEPT))
        return shards, left_out, features

    def note_odd(self, doubts: Mapping[str, str]) -> None:
        """Note the films whose pictures look odd among the others: a doubt or "" by case."""
        self._kept += [Finding(case, _ODD, doubt, KEPT) for case, doubt in doubts.items() if doubt]

    def report(self, cases: pd.DataFrame) -> None:
        """Write findings.csv and print the table of all checks."""
        findings = self._written({*self._of_cases(cases), *self._kept})
        rows = [dict(zip(_COLUMNS, finding, strict=True)) for finding in findings]
        write_csv(self.folder / FINDINGS, _COLUMNS, rows)
        names = _VOLUMES if "mask_path" in cases else _FILMS
        counts = []
        for check in names:
            matching = [finding for finding in findings if finding.check == check]
            actions = ", ".join(sorted({finding.action for finding in matching}))
            first = self._names.on_screen(matching[0].where) if matching else ""
            counts.append((check, str(len(matching)), actions, first))
        title = f"check of {len(cases)} cases"
        print_table(Table(title, ("check", "found", "done", "first"), tuple(counts)))
        print(f"  {len(findings)} findings: {self.folder / FINDINGS}")
        if "patients_from" in cases.attrs:
            print(f"  patients: {_patients(cases)}")
        for warning in self._warnings:
            print(f"  {warning}")

    def _of_cases(self, cases: pd.DataFrame) -> Iterator[Finding]:
        bad = cases[cases["left_out"] != ""]
        for case, left_out in zip(bad["case"], bad["left_out"], strict=True):
            check, detail = _check_and_detail(left_out)
            yield Finding(case, check, detail, LEFT_OUT)

    def _written(self, findings: Iterable[Finding]) -> list[Finding]:
        """Findings without names, sorted."""
        findings = list(findings)
        places = self._names.places(finding.where for finding in findings)
        return sorted(
            {
                finding._replace(where=place, detail=self._names.text(finding.detail))
                for place, finding in zip(places, findings, strict=True)
            }
        )

    def _refuse(self, cases: pd.DataFrame) -> None:
        bad = [finding for finding in self._of_cases(cases) if finding.check not in _ABSENT]
        limit = self.settings.bad_files_limit
        allowed = limit if limit >= 1 or not limit else max(_MIN_ALLOWED, limit * len(cases))
        if len(bad) <= allowed:
            return
        first = bad[0]
        raise UserError(
            f"{self.source}: {len(bad)} of {len(cases)} cases cannot be used, more than "
            f"--bad-files-limit {limit:g} allows; the first: {self._names.on_screen(first.where)}, "
            f"{first.check}"
            f"{': ' if first.detail else ''}{first.detail}; correct them, or raise the limit "
            f"({self.folder / FINDINGS} names all)"
        )


def _check_and_detail(reason: str) -> tuple[str, str]:
    """Split "CHECK: detail"; a reason that names no check is a reader's refusal."""
    check, _, detail = reason.partition(": ")
    return (check, detail) if check in (*_FILMS, *_VOLUMES) else ("unreadable", reason)


def _unknown_patients(cases: pd.DataFrame, remark: str) -> Iterator[Finding]:
    """Each usable case of an unknown patient; where nobody is known, the dataset."""
    cases = cases[cases["left_out"] == ""]
    unknown = cases["case"][cases["patient_hash"] == ""] if "patient_hash" in cases else ()
    if 0 < len(unknown) < len(cases):
        yield from (Finding(case, _UNKNOWN, "nothing names its patient", KEPT) for case in unknown)
    else:
        yield Finding("", _UNKNOWN, remark, KEPT)


def _patients(cases: pd.DataFrame) -> str:
    """How many patients the usable cases have, and what names them."""
    usable = cases[cases["left_out"] == ""]
    named = usable[usable["patient_hash"] != ""] if "patient_hash" in usable else usable
    if not len(usable) or (cases.attrs["patients_remark"] and len(named) in (0, len(usable))):
        return "unknown"
    return (
        f"{named['patient'].nunique()}, on {len(named)} of {len(usable)} images, by "
        f"{cases.attrs['patients_from']}"
    )


def _one_class(cases: pd.DataFrame, truth: Sequence[str]) -> str:
    """What it means where all usable cases have one label; "" where they have several."""
    labels = list(cases.loc[cases["left_out"] == "", "label"]) if "label" in truth else []
    if len(labels) < 2 or len(set(labels)) > 1:
        return ""
    return (
        f"all {len(labels)} labels are {labels[0]}: a network learns nothing from one class, "
        "and scores of it mean nothing"
    )


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
