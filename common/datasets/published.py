"""Which ids, file names and paths name nobody, so that they may be written as they are.

An id is written as it is in two cases. It is in a form in which a public set published its images:
RSNA's challenge, NIH, Kermany's children, JSRT, Wingspan and the Medical Segmentation Decathlon,
or a hash. Or it is made of the plain words below and of short numbers, as film-03 and case_017 are.
All others may be a name, a date, the number of a patient or a UID, and no look at one id tells: a
table of labels may name its films by their patients. Those are written as ids of ours
(`common.datasets.ids`).
"""

from __future__ import annotations

import functools
import re
from pathlib import Path, PurePosixPath
from string import ascii_lowercase

from common.imaging.image_files import FILM_SUFFIXES, as_text
from common.imaging.volume_names import SUFFIXES as VOLUME_SUFFIXES

_SUFFIXES = (*VOLUME_SUFFIXES, *FILM_SUFFIXES, ".csv", ".tsv", ".json", ".txt")
_SUFFIX = re.compile(rf"({'|'.join(map(re.escape, _SUFFIXES))})$", re.I)

# The forms of public sets. A hash holds 32 hexadecimal digits at least, and a letter.
_FORMS = re.compile(
    r"(?=.*[a-f])[0-9a-f]{32,64}"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # RSNA
    r"|[0-9a-f]{8}(-[0-9a-f]{8}){4}"  # MIMIC-CXR
    r"|\d{8}_\d{3}"  # NIH
    r"|person\d{1,5}_(bacteria|virus)_\d{1,5}(_\d)?"  # Kermany, as Kaggle has it, and as he has
    r"|(normal\d?-)?im-\d{4}(-\d{4}){1,2}"
    r"|(normal|bacteria|virus)-\d{1,8}-\d{4}"
    r"|(jsrt-)?jpc(ln|nn)\d{3}"
    r"|wingspan-\d+-\d+"
    r"|(chn|mcu)cxr_\d{4}_[01]",  # Shenzhen and Montgomery
    re.I,
)

_WORDS = {
    *ascii_lowercase,
    *("chest", "cxr", "xray", "ray", "film", "image", "images", "img", "im", "ima", "pic"),
    *("picture", "png", "jpg", "jpeg", "dicom", "dcm", "nii", "nifti", "case", "cases"),
    *("patient", "patients", "pat", "person", "persons", "subject", "sub", "id", "study"),
    *("series", "scan", "slice", "slices", "frame", "view", "pa", "ap", "ll", "rl", "lat"),
    *("lateral", "frontal", "volume", "volumes", "vol", "ct", "mr", "mri", "lge", "heart"),
    *("hearts", "atrium", "la", "lung", "lungs", "liver", "brain", "brats", "colon"),
    *("spleen", "pancreas", "prostate", "hippocampus", "hepaticvessel", "mask", "masks"),
    *("label", "labels", "seg", "box", "boxes", "normal", "negative", "positive"),
    *("pneumonia", "bacteria", "bacterial", "virus", "viral", "covid", "opacity", "finding"),
    *("findings", "class", "classes", "no", "not", "row", "entry", "of", "name", "unusable"),
    *("train", "training", "val", "valid", "validation", "test", "tests", "testing", "dev"),
    *("fold", "set", "sets", "sample", "samples", "data", "dataset", "stage", "detailed"),
    *("info", "detection", "challenge", "mapping", "mappings", "rsna", "nih", "kermany"),
    *("jsrt", "wingspan", "kaggle", "task", "cohort", "split", "splits", "list", "lists"),
    *("table", "tables", "official", "synthetic", "demo", "raw", "prepared", "source"),
    *("input", "inputs", "export", "archive", "part", "parts", "batch", "copy", "copies"),
    *("other", "file", "files", "folder", "in", "imagestr", "labelstr", "imagests", "tr"),
    *("ts", "one", "two", "three", "first", "second", "third", "out", "output", "outputs"),
    *("there", "empty", "broken", "notes", "text", "disk"),
}
# Of the letters and of the numbers in a name that is plain; the digits of a number alone, and next
# to a word, without the zeros before it.
_MAX_LETTERS, _MAX_NUMBERS = 1, 2
_MAX_ALONE, _MAX_DIGITS = 4, 5


def is_public(name: str) -> bool:
    """Whether an id, or the name of a file with its suffix, names nobody."""
    stem = _SUFFIX.sub("", as_text(name))
    if _FORMS.fullmatch(stem):
        return True
    if re.search(r"[^A-Za-z0-9_ -]", stem) or not stem or has_name(stem):
        return False
    words, numbers = _words(stem), re.findall(r"\d+", stem)
    digits = _MAX_DIGITS if any(len(word) > 1 for word in words) else _MAX_ALONE
    return (
        sum(len(word) == 1 for word in words) <= _MAX_LETTERS
        and len(numbers) <= _MAX_NUMBERS
        and all(len(number.lstrip("0")) <= digits for number in numbers)
    )


def has_name(text: str) -> bool:
    """Whether a word is in an id of an image or of a patient that may be somebody's name."""
    return not _FORMS.fullmatch(text) and any(word not in _WORDS for word in _words(text))


def is_public_path(path: str) -> bool:
    """Whether all parts of a path, with ``/``, name nobody."""
    folder, between, name = path.rpartition("/")
    if name in ("", ".", "..") or (between and not folder):
        return _are_public(path)
    return is_public(name) and _are_public(folder)


@functools.lru_cache(maxsize=1024)
def _are_public(path: str) -> bool:
    """Whether the folders of a path name nobody, which many files share."""
    return all(is_public(part) for part in PurePosixPath(path).parts)


def table_name(name: str) -> str:
    """The name of a table that somebody gave, as it may be written."""
    return name if is_public(name) else "the table"


def without_slices(text: str, folder: Path) -> str:
    """A text without the names of files in a folder, if it is one, that may name somebody."""
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError:
        names = []
    for name in filter(text.__contains__, names):
        text = text if is_public(name) else text.replace(name, "a slice")
    return text


def _words(text: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[^\W\d_]+", text)]
