"""Folders that are patients, studies or series, as an archive exports them, and so no classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.base.errors import UserError
from common.datasets.class_folders import class_folders
from common.datasets.csv_tables import plain
from common.imaging.film_origin import read_element
from common.imaging.films import is_plain
from common.imaging.image_files import is_film, list_files

# What an archive names its folders after, from the patient down.
_KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber")
# A number is of whom or what: patient7, PT000003; but pT1 and grade 2 are classes.
_NAMED = re.compile(
    r"(patient|subject|person|study|series)\W*_*\d+|(pat?|pt|st|se|case|exam)\W*_*\d{3,}", re.I
)
_UID = re.compile(r"[0-2](\.\d+){4,}")
# So many folders are looked at; from this number on, few films in each say that they are patients.
_MOST, _MANY, _FEW = 50, 12, 3
# Of so few classes each may be of one patient by chance.
_SEVERAL = 5


class _Folder(NamedTuple):
    """A folder: its name, the number of its films, and what its first and last film are of."""

    name: str
    films: int
    first: tuple[str, ...]
    last: tuple[str, ...]

    @property
    def is_named_after_key(self) -> bool:
        """Whether its name is that of a patient or study, or holds it: DOE^JOHN_12345."""
        name = plain(self.name)
        keys = [plain(key) for key in self.first if key]
        return any(
            key == name or (len(key) > 3 and any(c.isdigit() for c in key) and key in name)
            for key in keys
        )


def refuse_patient_folders(source: Path) -> None:
    """Raise a `UserError` where the folders that would be classes are patients or their studies.

    They are where most are named after the PatientID or a UID of their films, or as patients are
    (patient00001, PT000003); where each holds films of one patient, and no two of the same; and
    where many hold a film or two each. What DICOM files say is never quoted.

    Args:
        source: The dataset's folder.

    Raises:
        UserError: They are; the message says what is needed in their place.
    """
    folders = [_look(own.name, own.folder) for own in class_folders(source)[:_MOST]]
    folders = [folder for folder in folders if folder.films]
    if _are_patients(folders):
        raise UserError(
            f"{source}: its folders are patients or their studies, as an archive exports them, not "
            "classes; add a CSV file with the columns image_path and label there (or patientId, "
            "the SOPInstanceUID of each film, and Target), or give --layout folders if these are "
            "the classes"
        )


def _are_patients(folders: Sequence[_Folder]) -> bool:
    most = len(folders) / 2
    if sum(folder.is_named_after_key for folder in folders) > most:
        return True
    names = [folder.name.strip() for folder in folders]
    if sum(bool(_NAMED.fullmatch(name) or _UID.fullmatch(name)) for name in names) > most:
        return True
    # A class may have a folder in each split.
    counts: Counter[str] = Counter()
    for folder in folders:
        counts[folder.name.casefold()] += folder.films
    if len(counts) >= _MANY and sum(n <= _FEW for n in counts.values()) > len(counts) / 2:
        return True
    patients = [f.first[0] for f in folders if f.first[0] and f.first[0] == f.last[0]]
    return len(folders) >= _SEVERAL and len(set(patients)) > 0.9 * len(folders)


def _look(name: str, folder: Path) -> _Folder:
    films = list(filter(is_film, list_files(folder).files))
    nothing = ("",) * len(_KEYS)
    if not films:
        return _Folder(name, 0, nothing, nothing)
    return _Folder(name, len(films), _keys(films[0]), _keys(films[-1]))


def _keys(film: Path) -> tuple[str, ...]:
    """What a DICOM file says of itself, "" of other files; it identifies, and is never written."""
    try:
        return tuple("" if is_plain(film) else read_element(film, key) for key in _KEYS)
    except UserError:
        return ("",) * len(_KEYS)
