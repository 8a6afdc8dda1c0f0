"""Which files are NIfTI by their names, without loading what reads them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
"""Endings of NIfTI file names; a file that ends in none of these is refused."""


def is_nifti(path: Path) -> bool:
    """Whether a file is named as NIfTI is; of a pair the header, so that a volume counts once.

    The hidden files that a Mac adds to an archive, ``._la_003.nii.gz``, are not NIfTI.
    """
    name = path.name.lower()
    return name.endswith(SUFFIXES) and not name.endswith(".img") and not name.startswith("._")
