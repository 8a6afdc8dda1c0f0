"""The steps that the three prepare_data.py share, from the dataset to the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from common.base.cluster import Cluster, connected, place_of
from common.base.files import lock_folder, sha256
from common.base.project import Project
from common.base.settings import BY_PATIENT, SharedPrepare
from common.datasets.class_folders import OFFICIAL
from common.datasets.cohort import COLUMNS, NO_SPLIT, entries_of, read_cohort
from common.datasets.cohort import FILE as COHORT
from common.datasets.duplicates import find_duplicate_volumes, find_duplicates
from common.datasets.images import STORED
from common.datasets.repairs import Repair, noted_repairs
from common.datasets.splits import TEST, folds_in
from common.imaging.acquisition import as_table
from common.imaging.image_files import file_facts
from common.records import shards as records
from common.records.file_findings import bytes_of
from common.records.findings import DatasetCheck
from common.records.jobs import jobs
from common.records.looks import LOOK, Looking, decode_with_look, find_odd
from common.records.names import PATHS, Names, decode_unnamed
from common.records.official import official_split
from common.records.outcomes import ACQUISITION, Case, Features
from common.records.rows import write_table
from common.records.sources import Source, find_source
from common.records.summary import (
    print_disk,
    print_duplicates,
    print_splits,
    split_warning,
    write_cases,
)

# Settings that do not decide the prepared data.
_NOT_IN_KEY = (
    *("preset", "source", "prepared", "ids", "workers", "overwrite"),
    *("check", "bad_files_limit", "cluster", "cluster_tls"),
)

# Settings that came later, with their defaults: folders of before keep their key.
_LATER = {
    "split_by": BY_PATIENT,
    **{"layout": "auto", "patient_pattern": "", "positive_class": "", "own_split": False},
}

STATISTICS = "acquisition.csv"
"""The table of how films were taken (`common.imaging.acquisition`), where there is one."""

FINGERPRINTS = ("sha256", "perceptual")
"""Features of a record, `common.imaging.fingerprints`, which ``cases.csv`` has too."""


@contextmanager
def preparation(
    project: Project,
    settings: SharedPrepare,
    make_sample: Callable[[Path], object],
    all_test: bool = False,
    **made_by: str | int,
) -> Iterator[Preparation]:
    """Begin or resume the preparation of a dataset, in a folder that is locked until the end.

    Args:
        project: The dataset's project.
        settings: The settings of prepare_data.py.
        make_sample: Makes the built-in sample in a folder, where there is no dataset.
        all_test: Whether every case is a test case; then who prepares the same now is waited for.
        made_by: What decides the data besides the settings; data that was prepared with other
            values has another key.

    Raises:
        UserError: The folder holds something else.
    """
    place = place_of(settings.cluster, settings.cluster_tls)
    source = find_source(project, settings, make_sample)
    folder = settings.prepared or project.prepared(source.synthetic)
    if place:  # whose workers were started in folders of their own
        source = dataclasses.replace(source, folder=source.folder.absolute())
        folder = folder.absolute()
    with lock_folder(folder, wait=all_test), noted_repairs() as repairs:
        steps = Preparation(project, settings, source, folder, all_test, made_by, repairs)
        folders = [source.folder, folder]
        connection = connected(place, folders) if place and not steps.is_finished else nullcontext()
        with connection as steps.cluster:
            yield steps


class Preparation:
    """The preparation of one dataset, step by step: index, check, split, write, finish.

    The steps fill the columns ``duplicate_of``, ``split`` and ``left_out`` of the caller's table
    of cases.

    Attributes:
        source: The dataset.
        folder: The prepared folder.
        statistics: After `write`, those of how films were taken, by case: a row of
            `common.imaging.acquisition` for each film whose decoding gives one.
        is_finished: Whether the folder already holds this data, which was then printed.
        cluster: Writes the shards, in place of processes here; None for none.
    """

    cluster: Cluster | None = None

    def __init__(
        self,
        project: Project,
        settings: SharedPrepare,
        source: Source,
        folder: Path,
        all_test: bool,
        made_by: Mapping[str, str | int],
        repairs: Iterable[Repair],
    ) -> None:
        self.source, self.folder = source, folder
        self.statistics = as_table({})
        self._truth: Sequence[str] = ()
        self._is_dealt = False
        self._project, self._settings = project, settings
        # A check needs no split of its own, and looks at one that was given.
        self._all_test = all_test or (settings.check and settings.split_from is None)
        self._decides = {**settings_of_data(settings), "all_test": all_test, **made_by}
        self._cohort = read_cohort(settings.split_from) if settings.split_from else None
        self._key = records.source_key(file_facts(source.folder, [folder]), self._decides)
        self._bytes = pd.Series(dtype=int)
        self._names = Names(source.folder, folder, settings.ids)
        self._findings = DatasetCheck(
            source.folder, folder, settings, all_test, repairs, self._names
        )
        if settings.check:
            records.refuse_foreign(folder)
        self.is_finished = not settings.check and not records.begin(
            folder, self._key, settings.overwrite
        )
        if self.is_finished:
            print(f"\n{folder}: is prepared already, nothing to do")

    def check(
        self, cases: pd.DataFrame, sizes: pd.Series[str] | None = None, truth: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Give cases the ids that may be written, find duplicates, and check what files say.

        From here on a case is called by its id (`common.records.names`). The pixels
        are checked where they are decoded.

        Args:
            cases: One row per case, with ``case``, ``path``, ``patient``, ``left_out`` and, of
                volumes, ``mask_path``; of films `STORED`, which goes.
            sizes: (cases,) the size of each film, in words; volumes are measured here.
            truth: The columns that hold a case's label.

        Returns:
            The usable cases.

        Raises:
            UserError: No case is usable, or more are bad than the settings allow.
        """
        self._names.name_cases(cases)
        if self._cohort is not None:
            self._cohort = self._names.name_rows(self._cohort)
        if not self._settings.check:
            records.keep_ids(self.folder, self._names.key_id)
        cases["split"] = cases["part"] = ""
        self._truth = truth
        readable = cases[cases["left_out"] == ""]
        if sizes is None:
            volumes = find_duplicate_volumes(readable, self.source.folder, self._settings.workers)
            volumes = volumes.reindex(cases.index, fill_value="")
            cases["duplicate_of"], sizes = volumes["duplicate_of"], volumes["size"]
        else:
            originals = find_duplicates(readable, self.source.folder, self._settings.workers)
            cases["duplicate_of"] = originals.reindex(cases.index, fill_value="")
            del cases[STORED]
        self._bytes = bytes_of(self.source.folder, cases, [self.folder])
        self._findings.check_table(cases, sizes, truth, int(self._bytes.sum()))
        return self._findings.usable(cases)

    def split(
        self,
        cases: pd.DataFrame,
        strata: pd.Series[str],
        tails: Callable[..., pd.Series[str]] | None = None,
    ) -> pd.DataFrame:
        """Split the usable cases by patient, each usable case's strata in proportion.

        Args:
            cases: All cases.
            strata: Of the usable ones.
            tails: For ``--split-by shortcut``, as for `common.records.shifted.split_by`.

        Returns:
            The usable cases.

        Raises:
            UserError: Nothing can be split by what the settings name.
        """
        usable = cases.loc[strata.index]
        file = self._settings.split_from
        if file and self._cohort is not None and not self._all_test:
            splits = entries_of(usable, self._cohort, file)["split"]
            cases.loc[splits.index[splits == ""], "left_out"] = NO_SPLIT
            cases.loc[usable.index, "split"] = splits
            return cases[cases["left_out"] == ""]
        is_official = OFFICIAL in cases and self._settings.split_by == BY_PATIENT
        if is_official and self._settings.check and file is None:
            self._findings.check_official(usable.assign(split=usable[OFFICIAL]))
        if is_official and not self._all_test:
            splits = official_split(usable, strata, self._settings)
            cases.loc[splits.index[splits == ""], "left_out"] = NO_SPLIT
            cases.loc[usable.index, "split"] = splits
            usable = cases[cases["left_out"] == ""]
            self._findings.check_official(usable)
            return usable
        self._is_dealt = not self._all_test
        if self._settings.split_by == BY_PATIENT or self._all_test:
            cases.loc[usable.index, "split"] = split(usable, strata, self._settings, self._all_test)
        else:
            # scikit-learn takes a second to import, and decoding processes import this module.
            from common.records.shifted import split_by

            dealt = split_by(usable, strata, self._settings, self.source.folder, self._truth, tails)
            cases.loc[usable.index, ["split", "part"]] = dealt
        return cases.loc[usable.index]

    def written_path(self, path: str, case: str) -> str:
        """A path in the dataset as it may be written: the case in its place, where it has names."""
        return self._names.written_path(path, case)

    def jobs(
        self, usable: pd.DataFrame, columns: Sequence[str], copies: int | Mapping[str, int] = 0
    ) -> list[dict[str, Any]]:
        """`jobs` of the usable cases; no copies where every case is a test case."""
        return jobs(usable, columns, 0 if self._all_test else copies, self._settings.seed)

    def write(
        self,
        cases: pd.DataFrame,
        decoding: Sequence[Case],
        decode: Callable[[Case], Features],
        cases_per_shard: int,
        looking: Looking | None = None,
    ) -> records.Shards:
        """Decode and write, or with ``--check`` decode alone; note what could not be decoded.

        Args:
            cases: All cases.
            decoding: From `jobs`.
            decode: As for `common.records.shards.write_shards`.
            cases_per_shard: Cases in one file.
            looking: With it ``--check`` names cases that look odd.
        """
        looking = looking if self._settings.check else None
        if looking:
            decode = partial(decode_with_look, decode, looking.at)
        kept = (*FINGERPRINTS, ACQUISITION, *((LOOK,) if looking else ()))
        decode = partial(decode_unnamed, decode, self.source.folder)
        shards, unreadable, features = self._findings.decode(
            decoding, decode, cases_per_shard, kept, self.cluster
        )
        leave_out(cases, unreadable)
        self._findings.usable(cases)
        texts = {name: [own.get(name, "") for own in features.values()] for name in kept}
        texts["case"] = list(features)
        if shards:
            texts = records.read_texts(self.folder, shards, ("case", *kept), self.cluster)
        for name in FINGERPRINTS:
            values = pd.Series(texts[name], texts["case"], dtype=object)
            cases[name] = values.reindex(cases["case"], fill_value="").to_numpy()
        self._findings.check_pixels(cases, self._truth)
        self.statistics = as_table(zip(texts["case"], texts[ACQUISITION], strict=True))
        if looking:
            self._findings.note_odd(find_odd(looking, features, cases, self._settings.seed))
        if self._settings.check:
            self._check_split(cases[cases["left_out"] == ""])
            self._findings.report(cases)
        return shards

    def print_cases(
        self,
        cases: pd.DataFrame,
        groups: Mapping[str, str] = MappingProxyType({}),
        truth: str = "",
        columns: Sequence[str] = (),
    ) -> None:
        """Write ``cases.csv``, and print the splits (`print_splits`) and equal films."""
        written: Any = {
            name: [*map(self.written_path, *(cases[n].to_numpy(object) for n in (name, "case")))]
            for name in PATHS
            if name in cases
        }
        write_cases(self.folder, cases.assign(**written))
        print_splits(cases, groups, self._settings)
        if truth:
            print_duplicates(cases, truth, columns)

    def finish(self, cases: pd.DataFrame, shards: records.Shards, **described: Any) -> None:
        """Print the findings and the saved disk space, and write the manifest.

        ``described`` are the entries of the manifest that only this project has.
        """
        usable = cases[cases["left_out"] == ""]
        settings = self._decides
        if self._check_split(usable):
            settings = {**settings, "folds": len(folds_in(sorted(set(usable["split"]))))}
        write_table(self.folder / COHORT, usable[list(COLUMNS)])
        if len(self.statistics):
            write_table(self.folder / STATISTICS, self.statistics.rename_axis("case").reset_index())
        self._findings.report(cases)
        disk = print_disk(int(self._bytes[usable.index].sum()), shards)
        content = manifest(self._project, self.source, self._key, settings, cases, shards, disk)
        content |= {"ids": self._names.key_id, "patients_key": self._names.patients_key}
        records.finish(self.folder, {**content, **described})

    def _check_split(self, usable: pd.DataFrame) -> bool:
        """Check a split that was given, or dealt here; gives whether one was given."""
        if self._is_dealt:
            self._findings.check_dealt(usable)
        if self._all_test or self._cohort is None or self._settings.split_from is None:
            return False
        self._findings.check_split(usable, self._cohort, self._settings.split_from)
        return True


def settings_of_data(settings: SharedPrepare) -> dict[str, Any]:
    """The settings that decide the prepared data; a file's content, not its path."""
    return {
        name: sha256(value) if isinstance(value, Path) and value.is_file() else value
        for name, value in dataclasses.asdict(settings).items()
        if name not in _NOT_IN_KEY and not (name in _LATER and value == _LATER[name])
    }


def split(
    cases: pd.DataFrame, strata: pd.Series, settings: SharedPrepare, all_test: bool
) -> pd.Series | str:
    """The split of every case, by patient; ``test`` for all where ``all_test`` is set.

    Patients who share a film or a volume (``duplicate_of``) are in one split.
    """
    if all_test:
        return TEST
    # scikit-learn takes a second to import, and decoding processes import this module.
    from common.datasets.patient_splits import patient_groups, split_by_patient

    return split_by_patient(
        patient_groups(cases) if "duplicate_of" in cases else cases["patient"],
        strata,
        settings.validation_share,
        settings.test_share,
        settings.folds,
        settings.seed,
    )


def leave_out(cases: pd.DataFrame, unreadable: Mapping[str, str]) -> None:
    """Note in the table the cases that could not be decoded; they are in no split."""
    reasons = cases["case"].map(dict(unreadable))
    cases["left_out"] = cases["left_out"].where(reasons.isna(), reasons)
    cases.loc[cases["left_out"] != "", "split"] = ""


def manifest(
    project: Project,
    source: Source,
    key: str,
    settings: Mapping[str, Any],
    cases: pd.DataFrame,
    shards: records.Shards,
    disk: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``manifest.json``."""
    return {
        "project": project.name,
        "dataset": source.folder.resolve().name,
        "synthetic": source.synthetic,
        # Its name: the folders above tell who prepared it.
        "source": source.folder.resolve().name,
        "key": key,
        "settings": settings,
        "counts": cases.loc[cases["left_out"] == "", "split"].value_counts().to_dict(),
        "left_out": int((cases["left_out"] != "").sum()),
        "patients_known": not cases.attrs.get("patients_remark"),
        "split_warning": split_warning(cases, bool(settings.get("all_test"))),
        **{name: cases.attrs.get(name, "") for name in ("patients_from", "patients_remark")},
        "disk": disk,
        "shards": shards,
    }
