"""The films of a dataset by their ids, and what every table of films has, whatever its layout."""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.processes import each
from common.datasets.csv_tables import usable_id, whole
from common.datasets.other_ids import refuse_other_ids, restore_zeros
from common.datasets.patients import NAMED, Patients, find_patients, numbered
from common.datasets.repairs import Repair, note, note_repair
from common.imaging.dicom import Header
from common.imaging.film_origin import read_element
from common.imaging.films import is_plain
from common.imaging.image_files import file_name, image_id, is_film, list_paths, path_from
from common.imaging.stored_films import Stored, read_stored

OTHER_CASE = "other case of letters"
"""The check that finds an id and its file apart in upper and lower case."""

# From this number of headers on, one or two milliseconds each, processes share the work.
_POOL_FROM = 2000
# What the table holds of an image without a readable header.
_UNKNOWN = Header(0, 0, "", "", "", math.nan, None)
# The columns that every table has: of the case, the attributes of a file's header, its spacing.
_COMMON = ["case", "path", "patient"]
_FROM_HEADER = ["view", "sex", "age_years", "rows", "columns"]
_SPACING = ["row_mm", "column_mm"]
STORED = "stored"
"""The column of how each film is stored (`Stored`), which `find_duplicates` needs."""

Columns = dict[str, list[Any]]
"""A table that is being made: by column its cells. A dict a row takes five times the memory."""

# How public sets write whose a film is into its name: Kaggle's children, those of Kermany's own
# archive and NIH, whose last patient is 30805: eight digits may be a date. CheXpert writes it into
# the folders.
_PATIENT_FOLDERS = re.compile(r"(?:.*/)?(patient\d+)/study\d+/", re.I)
_PATIENT_NAMES = (
    r"(person\d+)_",
    r"(normal\d*-im-\d+)-\d+",
    r"(?:normal|bacteria|virus)-(\d+)-\d+",
    r"(000[0-3]\d{4})_\d{3}$",
)
# Kaggle's normal films are called as any export of OsiriX: only next to its others it is a child.
_KAGGLES_NORMAL = r"(im-\d+)-\d+"
_KAGGLES_OTHERS = re.compile(r"person\d+_(?:bacteria|virus)_\d+", re.I)


@dataclass
class Films:
    """The films of a dataset.

    Attributes:
        source: The dataset's folder.
        by_id: The files of each id, as text; several where one id has several.
        faults: What could not be followed or opened below ``source``, and why.
    """

    source: Path
    by_id: dict[str, list[str]]
    faults: dict[Path, str] = field(default_factory=dict)

    def named_as(self, names: Iterable[str]) -> None:
        """Give films the ids of a table that differ from theirs in upper and lower case alone."""
        names = set(names)
        by_letters: dict[str, list[str]] = defaultdict(list)
        for own in self.by_id.keys() - names:
            by_letters[own.casefold()].append(own)
        for name in names - self.by_id.keys():
            match by_letters.get(name.casefold(), []):
                case [own] if own in self.by_id:
                    self.by_id[name] = self.by_id.pop(own)
                    file = ascii(file_name(self.by_id[name][0]))[1:-1]
                    note(Repair(name, OTHER_CASE, f"its file is {file}"))

    def match(self, table: Path, names: Iterable[str]) -> None:
        """Give films the ids of a table that differ in letters or leading zeros, or are their UIDs.

        In the export of an archive files are called IM000001 in every folder; its table then has
        the SOPInstanceUID of each.

        Args:
            table: The table.
            names: Its ids.

        Raises:
            UserError: No id is of any film.
        """
        names = {name for name in names if usable_id(name)}
        self.named_as(names)
        zeros = restore_zeros(names - self.by_id.keys(), self.by_id.keys() - names)
        note_repair(table, "ids whose leading zeros were lost, as in a spreadsheet", len(zeros))
        for name, own in zeros.items():
            self.by_id[name] = self.by_id.pop(own)
        if not names or not self.by_id or names & self.by_id.keys():
            return
        files = [file for same in self.by_id.values() for file in same]
        uids = each(_uid, files, _POOL_FROM, 0, _no_uid, desc="headers", unit="file")
        by_uid: dict[str, list[str]] = defaultdict(list)
        for uid, file in zip(uids, files, strict=True):
            by_uid[uid if uid in names else image_id(file_name(file))].append(file)
        if not names & by_uid.keys():
            refuse_other_ids(table, names, [*map(Path, files)])
        self.by_id = dict(by_uid)


def _uid(file: str) -> str:
    path = Path(file)
    try:
        return "" if is_plain(path) else read_element(path, "SOPInstanceUID")
    except UserError:
        return ""


def find_films(source: Path, below: Path | None = None, skip: Iterable[Path] = ()) -> Films:
    """The films in a folder and those below it, by their id (`image_id`).

    Args:
        source: The dataset's folder.
        below: The folder to list; None for ``source``.
        skip: Folders to leave out.
    """
    paths, faults = list_paths(below or source, skip)
    by_id: dict[str, list[str]] = defaultdict(list)
    for path in filter(is_film, paths):
        by_id[image_id(file_name(path))].append(path)
    return Films(Path(source), dict(by_id), faults=faults)


def films_of(source: Path, files: Iterable[str]) -> Films:
    """The films of a list of files, which may have equal names: an id then has its folders too."""
    by_id: dict[str, list[str]] = defaultdict(list)
    for file in files:
        by_id[image_id(file_name(file))].append(file)
    unique: dict[str, list[str]] = {}
    for name, same in by_id.items():
        for file in same if len(same) > 1 else ():
            path = Path(file)
            parts = path.relative_to(source).parts if path.is_relative_to(source) else path.parts
            long = image_id("_".join(part for part in parts if part not in ("/", "..")))
            while long in by_id or long in unique:
                long += "_"
            unique[long] = [file]
        if len(same) == 1:
            unique[name] = same
    return Films(Path(source), unique)


def patient_in_name(pattern: str = "", names: Iterable[str] = ()) -> Callable[[str], str]:
    """From a film's id to its patient, "" where the name has none.

    Args:
        pattern: A regular expression; its first group is the patient, or what it matches. "" for
            the ways in which public sets name their films.
        names: The names of all films of the dataset, which tell Kaggle's set.

    Raises:
        UserError: It is no regular expression.
    """
    known = [pattern] if pattern else [*_PATIENT_NAMES]
    if not pattern and any(map(_KAGGLES_OTHERS.match, names)):
        known.append(_KAGGLES_NORMAL)
    try:
        patterns = [re.compile(text, re.I) for text in known]
    except re.error as error:
        raise UserError(
            f"--patient-pattern {pattern}: no regular expression ({error}); such as 'person(\\d+)'"
        ) from None
    look = [expression.search if pattern else expression.match for expression in patterns]

    def patient(name: str) -> str:
        match = next((match for search in look if (match := search(name))), None)
        return "" if match is None else next(iter(match.groups()), match[0]) or ""

    return patient


def _by_table(listed: Mapping[str, str], ids: Mapping[str, str]) -> dict[str, str]:
    """The patient of each film by a table, and of one that it leaves blank by what its file says.

    Who has a name in the table on another film has it here too; of several such nobody knows.

    Args:
        listed: By film, the table's.
        ids: By film, what its file says, "" for nothing.
    """
    by_table = {name: whole(listed.get(name, "")) for name in ids}
    in_table: dict[str, set[str]] = defaultdict(set)
    for name, patient in by_table.items():
        if patient:
            in_table[ids[name]].add(patient)
    for name, own in ids.items():
        if not by_table[name]:
            known = in_table.get(own, {own})
            by_table[name] = next(iter(known)) if own and len(known) == 1 else ""
    return by_table


def _patient_in_folders(source: Path, film: str) -> str:
    folders = _PATIENT_FOLDERS.match(path_from(source, film))
    return folders[1] if folders else ""


def rows_of(
    films: Films,
    names: Iterable[str],
    reasons: dict[str, str],
    patients: Path | None,
    pattern: str = "",
    listed: Mapping[str, str] | None = None,
) -> tuple[Columns, Patients]:
    """What every table has, and ``left_out``: a row per name, sorted; and who is on the films.

    Args:
        films: The films.
        names: The ids of all cases.
        reasons: By id, why a case can't be used; an id that none may have gets one here.
        patients: As ``file`` of `common.datasets.patients.find_patients`.
        pattern: As of `patient_in_name`.
        listed: The patient of each id by the dataset's own table, if it has one.
    """
    names = sorted(names)
    for number, name in enumerate(names):
        # A file name that can't be an id is known by its number from here on.
        if name in films.by_id and not usable_id(name):
            names[number] = f"unusable name {number + 1}"
            reasons[names[number]] = "unusable id"
    single = {name: films.by_id[name][0] for name in names if len(films.by_id.get(name, ())) == 1}
    files = list(single.values())
    in_name = patient_in_name(pattern, map(file_name, files))
    read = each(stored_or_reason, files, _POOL_FROM, 0, _no_stored, desc="headers", unit="file")
    headers = {name: header for name, (header, _) in zip(single, read, strict=True)}
    stored = {name: _shared(how) for name, (_, how) in zip(single, read, strict=True)}
    del files, read
    ids, known_by = {}, "PatientID"
    for name, header in headers.items():
        if isinstance(header, Header):
            ids[name] = "" if pattern else header.patient
            # The id of a film whose name is another's too begins with its folders.
            if ids[name]:
                continue
            own = in_name(image_id(file_name(single[name]))) or in_name(name)
            own = own or ("" if pattern else _patient_in_folders(films.source, single[name]))
            if own:
                ids[name], known_by = own, "name"
    if listed:
        ids, known_by = _by_table(listed, ids), "table"
    known = find_patients(films.source, patients, ids, image_id, known_by=known_by)
    left_out = [reasons.get(name) or _fault(films, name, headers.get(name)) for name in names]
    read_of = [
        header if isinstance(header, Header) else _UNKNOWN for header in map(headers.get, names)
    ]
    stored_as = [stored.get(name) for name in names]
    del headers, stored, single  # of a million films some hundred MiB
    spacings = [header.spacing_mm or (math.nan, math.nan) for header in read_of]
    table: Columns = {
        "case": names,
        "path": [
            path_from(films.source, its[0]) if (its := films.by_id.get(name)) else ""
            for name in names
        ],
        **{column: list(map(attrgetter(column), read_of)) for column in _FROM_HEADER},
        "row_mm": [row_mm for row_mm, _ in spacings],
        "column_mm": [column_mm for _, column_mm in spacings],
        "left_out": left_out,
        STORED: stored_as,
        "patient": numbered([known.keys.get(name, f" {name}") for name in names]),
        "patient_hash": [known.hashes.get(name, "") for name in names],
    }
    return table, known


def _fault(films: Films, name: str, header: Header | str | None) -> str:
    """Why a case can't be used by its files and its header, "" for no reason."""
    files = films.by_id.get(name, ())
    if len(files) != 1:
        return "several files" if files else "no image"
    return f"unreadable: {header}" if isinstance(header, str) else ""


def _shared(stored: Stored | None) -> Stored | None:
    """How a film is stored, in words that are held once: each process sends its own."""
    if stored is None:
        return None
    return stored._replace(size=sys.intern(stored.size), coding=sys.intern(stored.coding))


def rows_in(table: Columns) -> Iterator[dict[str, Any]]:
    """The rows of a table, one at a time; what is put into one is not in the table."""
    return (dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True))


def stored_or_reason(file: Path | str) -> tuple[Header | str, Stored | None]:
    """A file's header and how it is stored, or why it can't be read."""
    path = Path(file)
    try:
        return read_stored(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: "), None


def _no_stored(_file: str, reason: str) -> tuple[str, None]:
    return reason, None


def _no_uid(_file: str, _reason: str) -> str:
    return ""


def frame_of(table: Columns, own: list[str], films: Films, known: Patients) -> pd.DataFrame:
    """The table of cases, sorted; ``.attrs`` holds what is known of patients and of files.

    What a layout adds to the table of `rows_of` is ``finding``, perhaps ``label``, and ``own``.
    """
    label = ["label"] if "label" in table else []
    columns = [*_COMMON, *label, *_FROM_HEADER, *_SPACING, *own]
    frame = pd.DataFrame(table, columns=[*columns, STORED, "finding", "left_out", "patient_hash"])
    frame.attrs |= {**known.attributes, NAMED: known.named}
    frame.attrs["faults"] = {path_from(films.source, p): why for p, why in films.faults.items()}
    return frame.sort_values("case", kind="stable", ignore_index=True)
