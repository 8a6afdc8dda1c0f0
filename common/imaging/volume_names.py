"""Which files are volumes by their names, and which folders, without loading what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.imaging.dicom_names import is_dicom, is_index

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")
SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
"""Endings of the names of volumes, in any case; a slice of a DICOM series needs none."""

PAIRED = (".hdr", ".mhd")
PARTNERS = (".img", ".raw", ".zraw")
"""Endings of the files that hold the voxels of a `PAIRED` header of the same name."""


def stem(name: str, suffixes: Sequence[str] = SUFFIXES) -> str:
    """A file's name without the ending of a volume, or another of these in small letters."""
    return next((name[: -len(s)] for s in suffixes if name.lower().endswith(s)), name)


def is_volume(path: Path) -> bool:
    """Whether a file is named as a volume is; of a pair the header, so that a volume counts once.

    The hidden files that a Mac adds to an archive, ``._la_003.nii.gz``, are not volumes.
    """
    name = path.name.lower()
    return name.endswith(SUFFIXES) and not name.endswith(".img") and not name.startswith("._")


def is_slice(path: Path) -> bool:
    """Whether a file is DICOM, and no index of other files."""
    return not is_index(path) and not path.name.lower().endswith(SUFFIXES) and is_dicom(path)


def volume_of(path: Path) -> Path:
    """The volume that a file is, or is a part of: of a slice its folder."""
    return path.parent if is_slice(path) else path
