"""Where a film comes from, by the header of its file: maker, station, view, coding."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from common.imaging.dicom_file import named, parse, quiet, text

ORIGIN_TAGS = [
    *map(Tag, ("Manufacturer", "ManufacturerModelName", "StationName")),
    *map(Tag, ("ViewPosition", "SeriesDescription")),
]
"""The elements that `film_origin` needs beside those of the pixels."""

# The defined terms of C.8.1.1.4.
_VIEWS = ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO")


def film_view(dataset: Dataset) -> str:
    """The view, as in `common.imaging.dicom.Header`."""
    match = re.search(r"\bVIEW:\s*([A-Z]+)", text(dataset, "SeriesDescription").upper())
    views = (text(dataset, "ViewPosition").upper(), match[1] if match else "")
    return next((view for view in views if view in _VIEWS), "")


def film_origin(dataset: Dataset) -> dict[str, Any]:
    """Where a film comes from; "" for what is absent.

    Args:
        dataset: As `common.imaging.dicom_file.check` leaves it, with `ORIGIN_TAGS`.

    Returns:
        ``bits`` (stored), ``photometric``, ``compression``, ``maker`` and ``model`` in the letters
        that names have, ``station`` (a hash of its name) and ``view``.
    """
    maker, model = (
        re.sub(r"[^\w .+/-]", "", text(dataset, name), flags=re.ASCII)[:40].strip()
        for name in ("Manufacturer", "ManufacturerModelName")
    )
    station = text(dataset, "StationName")
    digest = hashlib.sha256(f"station {station}".encode("utf-8", "replace")).hexdigest()
    return {
        "bits": int(dataset.BitsStored),
        "photometric": str(dataset.PhotometricInterpretation),
        "compression": dataset.file_meta.TransferSyntaxUID.name,
        "maker": maker,
        "model": model,
        "station": digest[:12] if station else "",
        "view": film_view(dataset),
    }


def is_keyword(name: str) -> bool:
    """Whether an element of the standard has this keyword."""
    return tag_for_keyword(name) is not None


def read_element(path: Path, keyword: str) -> str:
    """An element's value as text, "" if absent. It may identify: group by it, never write it.

    Raises:
        UserError: As for `common.imaging.dicom.read_header`.
    """
    with quiet(), named(path, "its header can't be read"):
        tags = [Tag(name) for name in ("Rows", "Columns", keyword)]
        return text(parse(path, tags, stop_before_pixels=True), keyword)
