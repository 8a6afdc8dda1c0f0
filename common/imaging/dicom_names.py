"""Which files are DICOM, by name or first bytes, without loading what reads them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".dcm", ".dicom", ".ima")
"""Endings of DICOM file names; a file needs none of them."""


def is_dicom(path: Path) -> bool:
    """Whether a file is called DICOM or begins as DICOM does; True if it can't be read.

    What is called so and is none, as after an interrupted copy, is read, and refused by name.
    """
    if path.name.lower().endswith(SUFFIXES) and not path.name.startswith("."):
        return True
    try:
        with open(path, "rb") as file:
            return begins_as_dicom(file.read(132))
    except OSError:
        return True


def is_index(path: Path) -> bool:
    """Whether a file is the index of an export, by its name, or what a Mac adds to a file."""
    name = path.name
    if name.startswith("._"):
        return True
    return name[:8].upper() == "DICOMDIR" and Path(name).stem.upper() == "DICOMDIR"


def begins_as_dicom(head: bytes) -> bool:
    """Whether these first 132 bytes of a file are DICOM's, with the preamble or without.

    Without it, a dataset begins with group 0002 or 0008, in either byte order.
    """
    return head[128:132] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08")
