"""Who the patient of each image is, or that nobody can tell.

A split by patient needs to know. Many downloads do not say: in Kaggle's copy of the RSNA challenge
every PatientID names an image, other sets were anonymised with one PatientID for all. RSNA
publishes the NIH file name of every image of the challenge, which begins with the patient:
``pneumonia-challenge-dataset-mappings_2018.json``, a list of
``{"subset_img_id": the challenge's patientId, "img_id": "00000001_000.png", ...}``
(https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.base.errors import UserError
from common.base.files import read_json
from common.datasets.class_names import same_letters
from common.datasets.csv_tables import NOTHING, list_columns, read_csv, whole
from common.datasets.published import has_name, table_name

PATIENTS = "nih_patients.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
"""The files next to a dataset's labels that are read where --patients names none."""

MEND = "name the patients with --patients FILE (data/README.md)"
"""What to do where patients are not known."""

BY_IMAGE = "this is a split by image, and scores may be too good"
"""What it means for the splits."""

PARTLY_BY_IMAGE = "these are split by image, the others by patient, and scores may be too good"
"""The same where some patients are known."""

OVER_IMAGES = "intervals are over images, and somebody may also be in training"
"""What it means where every image is a test image."""

NAMED = "patients_named"
"""In ``attrs`` of the table of cases, until their hashes are keyed (`common.records.names`): the
cases whose patient the data calls by something that may be a name."""

FEW = 10
"""In a set of so few images nobody wonders that each is of another patient."""

# What may say whose an image is: in a remark, and as `Patients.known_from`.
_KNOWN_BY = {
    "PatientID": ("PatientID", "PatientID"),
    "name": ("patient in the file's name", "the files' names"),
    "table": ("patient in the table", "the table"),
}

# What anonymisation writes in place of a patient.
_NOBODY = {
    *("", "0", "unknown", "removed", "patient", "patientid", *NOTHING),
    *("anon", "anonymous", "anonymized", "anonymised", "deidentified", "de-identified"),
}


@dataclass(frozen=True)
class Patients:
    """The patients of the images of a dataset.

    Attributes:
        keys: By image, what its patient is called: equal for images of one patient. It identifies:
            group by it, never write it.
        hashes: By image, a hash of its patient that is the same in every dataset; "" where its
            patient is not known. Whoever knows the numbers of patients can look for one among them.
        known_from: The file, or "PatientID"; "" where none says who anybody is.
        remark: Why some patients are not known, in words; "" where all are.
    """

    keys: Mapping[str, str]
    hashes: Mapping[str, str]
    known_from: str
    remark: str

    @property
    def named(self) -> tuple[str, ...]:
        """The images whose patient is called by something that may be a name."""
        return tuple(name for name, key in self.keys.items() if self.hashes[name] and has_name(key))

    @property
    def attributes(self) -> dict[str, str]:
        """For ``attrs`` of the table of cases: what is known, and no patient."""
        is_known = list(map(bool, self.hashes.values()))
        partly = any(is_known) and not all(is_known)
        return {
            "patients_from": self.known_from,
            "patients_remark": self.remark,
            "patients_meaning": PARTLY_BY_IMAGE if partly else BY_IMAGE,
        }


def find_patients(
    source: Path,
    file: Path | None,
    patient_ids: Mapping[str, str],
    stem: Callable[[str], str],
    id_column: str = "patientId",
    known_by: str = "PatientID",
) -> Patients:
    """Find who is on the images of a dataset.

    Args:
        source: The dataset's folder.
        file: A CSV of images and patients, or RSNA's mapping in JSON; None for that in ``source``.
        patient_ids: What ``known_by`` gives for each image, "" for none.
        stem: From an image's name in the file to its name here.
        id_column: The CSV's column of images.
        known_by: PatientID, name or table: what says whose an image is where no file does.

    Raises:
        UserError: The file cannot be read, names no image of this dataset, or two patients of one.
    """
    if file is None:
        file = next((source / n for n in (PATIENTS, MAPPING) if (source / n).is_file()), None)
    patient_ids = _in_one_spelling(patient_ids)
    if file is None:
        return _by_image(patient_ids, known_by)
    listed: dict[str, str] = {}
    # An id may differ in upper and lower case alone, where that makes no two of one.
    letters = Counter(name.casefold() for name in patient_ids)
    by_letters = {n.casefold(): n for n in patient_ids if letters[n.casefold()] == 1}
    for name, patient in read_patients(file, id_column).items():
        forms = _forms(name, stem)
        images = (f if f in patient_ids else by_letters.get(f.casefold(), "") for f in forms)
        image = next(filter(None, images), forms[-1])
        if listed.setdefault(image, patient) != patient:
            raise _two_patients(file, name)
    lacking = [name for name in patient_ids if name not in listed]
    if patient_ids and len(lacking) == len(patient_ids):
        raise UserError(
            f"{file}: names the patients of none of the {len(patient_ids)} images of {source}; "
            "give the --patients file of this dataset"
        )
    table = table_name(file.name)
    remark = f"{len(lacking)} of {len(patient_ids)} images are not in {table}"
    others = _by_image({name: patient_ids[name] for name in lacking}, known_by).keys
    listed = _in_one_spelling(listed)
    keys = {name: listed.get(name) or others[name] for name in patient_ids}
    hashes = {name: _hash(listed.get(name, "")) for name in patient_ids}
    return Patients(keys, hashes, table, remark if lacking else "")


def _forms(name: str, stem: Callable[[str], str]) -> list[str]:
    """What a path may be called here: by its name behind its folders, of which fewer and fewer."""
    *folders, last = name.replace("\\", "/").split("/")
    return ["_".join([*folders[start:], stem(last)]) for start in range(len(folders) + 1)]


def _in_one_spelling(patients: Mapping[str, str]) -> dict[str, str]:
    """Patients by image, who are one where they differ in upper and lower case alone."""
    spelling = same_letters(patients.values())
    return {name: spelling[patient] for name, patient in patients.items()}


def read_patients(file: Path, id_column: str = "patientId") -> dict[str, str]:
    """The patient of each image by a file: RSNA's mapping in JSON, or a CSV.

    An image whose patient is empty, or "unknown" or another word for nobody, is not among them.

    Args:
        file: A CSV has ``id_column`` and ``patient``, or one other column.
        id_column: The CSV's column of images.

    Raises:
        UserError: It is not there, is neither of the two, or names two patients of one image.
    """
    patients: dict[str, str] = {}
    for image, patient in _entries(file, id_column):
        if not _nobody(patient, "table") and patients.setdefault(image, patient) != patient:
            raise _two_patients(file, image)
    return patients


def _entries(file: Path, id_column: str) -> list[tuple[str, str]]:
    """Every image and its patient, as `read_patients` reads them."""
    if file.suffix.lower() == ".json":
        try:
            entries = [(entry["subset_img_id"], entry["img_id"]) for entry in read_json(file)]
            return [(str(image), str(name).split("_")[0]) for image, name in entries]
        except (TypeError, KeyError):
            raise UserError(
                f'{file}: expected a list of {{"subset_img_id": "...", "img_id": "00000001_000.png"'
                "}, as RSNA publishes it; fetch it again, or give --patients a CSV"
            ) from None
    columns, rows = read_csv(file, [id_column], ["patient"])
    further = [column for column in columns if column != id_column]
    if "patient" not in further and len(further) != 1:
        raise UserError(
            f"{file}: expected the columns {id_column} and patient; found {list_columns(columns)}"
        )
    column = "patient" if "patient" in further else further[0]
    return [(row[id_column], whole(row[column])) for _, row in rows]


def _two_patients(file: Path, image: str) -> UserError:
    return UserError(f"{file}: {ascii(image)[1:-1]} is of two patients; correct it")


def _by_image(patient_ids: Mapping[str, str], known_by: str) -> Patients:
    what, known_from = _KNOWN_BY[known_by]
    count = len(patient_ids)
    named = {name: key for name, key in patient_ids.items() if not _nobody(key, known_by)}
    # Else the image's own key: no PatientID begins with a space.
    keys = {name: named.get(name, f" {name}") for name in patient_ids}
    distinct = set(named.values())
    of_files = sum(name == key for name, key in named.items())
    remark = ""
    if not named:
        remark = f"no file of {count} has a {what} that names anybody" if count else ""
    elif len(distinct) == 1 and count > 1:
        remark = f"{what} is the same in {len(named)} of {count} files"
        keys, named = {name: f" {name}" for name in patient_ids}, {}
    elif len(named) < count:
        remark = f"{count - len(named)} of {count} files have no {what} that names anybody"
    elif len(distinct) == count > FEW:
        remark = f"each of {count} files has a {what} of its own, as where it names the image"
    elif of_files > max(FEW, count / 2):
        remark = f"in {of_files} of {count} files the {what} is the file's name"
    hashes = {name: _hash(named.get(name, "")) for name in patient_ids}
    return Patients(keys, hashes, known_from if named else "", remark)


def _nobody(patient: str, known_by: str) -> bool:
    """Whether an entry names nobody; a table may number its patients from 0."""
    entry = patient.strip().lower()
    return entry in _NOBODY and not (entry == "0" and known_by == "table")


def _hash(patient: str) -> str:
    return hashlib.sha256(f"patient {patient}".encode()).hexdigest()[:20] if patient else ""


def numbered(keys: Sequence[str]) -> list[str]:
    """Patients without their names: "P00001", ..., by their sorted keys."""
    numbers = {key: number for number, key in enumerate(sorted(set(keys)), 1)}
    return [f"P{numbers[key]:05d}" for key in keys]
