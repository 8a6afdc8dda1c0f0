"""Which files are DICOM by their first bytes, without loading what reads them."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".dcm", ".dicom", ".ima")
"""Endings of DICOM file names; a file needs none of them."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, whatever its name; True if it can't be read."""
    try:
        with open(path, "rb") as file:
            return begins_as_dicom(file.read(132))
    except OSError:
        return True


def begins_as_dicom(head: bytes) -> bool:
    """Whether these first 132 bytes of a file are DICOM's, with the preamble or without.

    Without it, a dataset begins with group 0002 or 0008, in either byte order.
    """
    return head[128:132] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08")
