"""What a dataset's files say before any of them is decoded, as findings."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from common.datasets.rsna import TEST_FOLDERS as FILM_TEST_FOLDERS
from common.imaging.image_files import (
    BY_SCRIPTS,
    as_text,
    file_facts,
    image_id,
    is_film,
    is_hidden,
    is_output,
    list_files,
)
from common.imaging.volume_names import PAIRED, PARTNERS, is_volume, stem

LEFT_OUT, KEPT, REPAIRED = "left out", "kept", "repaired"

# The images without labels, as Kaggle's RSNA and the Decathlon name their folder.
_TEST_FOLDERS = (*FILM_TEST_FOLDERS[:2], "imagesTs")
# The sizes that a finding lists.
_MAX_SIZES = 5


class Finding(NamedTuple):
    """A row of findings.csv.

    Attributes:
        where: A case, a patient of cases.csv, a file as its path from the dataset, or "" for the
            dataset.
        check: The name of the check.
        detail: The finding in words.
        action: `LEFT_OUT`, `KEPT` or `REPAIRED`.
    """

    where: str
    check: str
    detail: str
    action: str


def unused(source: Path, cases: pd.DataFrame, folder: Path) -> Iterator[Finding]:
    """The files that lie among the images and masks and belong to no case, and broken links.

    Args:
        source: The dataset's folder.
        cases: With ``path`` and, of volumes, ``mask_path``.
        folder: The prepared folder.
    """
    columns = [cases[name] for name in ("path", "mask_path") if name in cases]
    used = {path for column in columns for path in column.to_numpy(object) if path}
    places = {path.rpartition("/")[0] or "." for path in used}
    folders = {str(parent) for place in places for parent in PurePosixPath(place, "_").parents}
    # Of a million films none is called so.
    headers = {PurePosixPath(path).stem for path in used if path.lower().endswith(PAIRED)}
    is_image = is_volume if "mask_path" in cases else is_film
    faults = cases.attrs.get("faults")
    if faults is None:
        below = list_files(source, [folder]).faults
        faults = {path.relative_to(source).as_posix(): why for path, why in below.items()}
    known = used | folders | faults.keys()
    for place in sorted(places):
        with os.scandir(source / place) as entries:
            inside = sorted(entry.name for entry in entries)
        begin = "" if place == "." else f"{place}/"
        for path in filter(lambda path: path not in known, (begin + name for name in inside)):
            file = source / path
            is_folder = file.is_dir()
            # The dataset's folder itself holds its tables too.
            if place == "." and (is_folder or not is_film(file)):
                continue
            if is_folder and (file.resolve() == folder.resolve() or is_output(file)):
                continue
            if file.suffix.lower() in PARTNERS and file.stem in headers:
                continue
            if file.is_file() and is_image(file) and not is_hidden(file.name):
                yield Finding(_name(path), "image not used", "no case has this file", LEFT_OUT)
            elif file.exists():
                yield Finding(_name(path), "extra file", "no image", LEFT_OUT)
    for path, why in faults.items():
        if why == BY_SCRIPTS and (source / path).resolve() == folder.resolve():
            continue
        yield Finding(_name(path), "not followed", why, LEFT_OUT)


def missing_images(cases: pd.DataFrame) -> list[str]:
    """A line on the images that a table names, or a mask is of, and the dataset lacks, if any."""
    count = int((cases["left_out"] == "no image").sum())
    if count and "table" in cases.attrs:
        listed = max(count, cases.attrs["listed"])
        what = f"of the {listed} images that {cases.attrs['table']} names are not here"
    elif count and "mask_path" in cases:
        what = f"of {int((cases['mask_path'] != '').sum())} masks without an image"
    else:
        return []
    return [
        f"NO IMAGE: {count} {what}; was a download or unzip broken off? complete it, and start the "
        "same command again"
    ]


def also_test(source: Path, cases: pd.DataFrame) -> Iterator[Finding]:
    """Cases with the name of an image in the dataset's own test folder."""
    for folder in _TEST_FOLDERS:
        if not (source / folder).is_dir():
            continue
        names = {_id(path.name) for path in (source / folder).iterdir()}
        for case, path in zip(cases["case"], cases["path"], strict=True):
            if path and _id(PurePosixPath(path).name) in names:
                yield Finding(case, "also a test image", f"the same name is in {folder}/", KEPT)


def bytes_of(source: Path, cases: pd.DataFrame, skip: Iterable[Path] = ()) -> pd.Series:
    """The bytes of each case's files, (cases,).

    Args:
        source: The dataset's folder.
        cases: With ``path`` and, of volumes, ``mask_path``.
        skip: Folders in it that need not be listed.
    """
    sizes = {path: size for path, size, _ in file_facts(source, skip)}

    def size(path: str) -> int:
        # What no list holds lies elsewhere, or is a folder of slices.
        known = sizes.get(path)
        return _bytes(source / path) if known is None else known

    total = np.zeros(len(cases), np.int64)
    for column in filter(cases.__contains__, ("path", "mask_path")):
        total += [size(path) if path else 0 for path in cases[column].to_numpy(object)]
    return pd.Series(total, cases.index)


def several_sizes(sizes: pd.Series) -> Iterator[Finding]:
    """Whether images are of several sizes: (cases,) in words, "" where one is not known."""
    counts = sizes[sizes != ""].value_counts()
    if len(counts) > 1:
        most = ", ".join(f"{size} ({count})" for size, count in counts[:_MAX_SIZES].items())
        more = f" and {len(counts) - _MAX_SIZES} more" if len(counts) > _MAX_SIZES else ""
        yield Finding("", "several sizes", f"{most}{more}; resampled", REPAIRED)


def disk(folder: Path, needed: int) -> Iterator[Finding]:
    """Whether the disk of a folder may be too small for so many bytes of source files."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        detail = f"{free / 1e6:.0f} MB are free, the source files have {needed / 1e6:.0f} MB"
        yield Finding("", "free disk", f"{detail}; what is written is kept if it ends", KEPT)


def _name(path: str) -> str:
    return ascii(as_text(path))[1:-1]


def _bytes(path: Path) -> int:
    """The bytes of a file, or of the files in a folder of slices."""
    own = path.stat()
    if not stat.S_ISDIR(own.st_mode):
        return own.st_size
    return sum(part.stat().st_size for part in list_files(path).files)


def _id(name: str) -> str:
    """A file's name without the ending of a film or volume; a UID is full of dots."""
    return image_id(stem(name))


def equal_cases(cases: pd.DataFrame, truth: list[str], are_dealt: bool) -> Iterator[Finding]:
    """The cases that equal another one, and in what they differ from it all the same.

    Args:
        cases: With ``duplicate_of``, ``patient`` and the columns of ``truth``.
        truth: The columns that hold a case's label.
        are_dealt: Whether the split is dealt here, and keeps both together.
    """
    rows = cases.set_index("case")
    for case, row in rows[rows["duplicate_of"] != ""].iterrows():
        first = rows.loc[row["duplicate_of"]]
        detail = f"equals {row['duplicate_of']}"
        if row["patient"] != first["patient"]:
            detail += f", of another patient{': the two are dealt as one' if are_dealt else ''}"
        if truth and list(row[truth]) != list(first[truth]):
            detail += ", with another label"
        yield Finding(str(case), "exact duplicate", detail, KEPT)
