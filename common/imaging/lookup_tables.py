"""Stored values to displayed ones: rescale, lookup tables, windows and palettes (PS3.3 C.11).

Writers get the numbers of tables and windows wrong in ways that are known, and what was meant is
still certain in most: a sign that the VR denies, entries of fewer bits than were declared, a window
that is none beside one that is good. What is not certain is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from common.base.errors import UserError

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601, the Y of YBR_FULL (C.7.6.3.1.2)."""

_BINARY = ("FD", "FL", "SL", "SS", "UL", "US")


def display(
    path: Path, values: np.ndarray, occurs: np.ndarray, dataset: Dataset
) -> tuple[np.ndarray, float, float]:
    """Stored values to those for display, by the first table or window that can be used.

    Args:
        path: Of the file, for what is said of it.
        values: ``(n,)`` stored values, ascending.
        occurs: ``(n,)`` booleans: the values that the image has, padding apart.
        dataset: The film.

    Returns:
        ``(n,)`` float64, the darkest, the brightest.

    Raises:
        UserError: A table, a rescale or a window is not what the standard allows, and what was
            meant cannot be told.
    """
    bits, by_table = int(dataset.BitsStored), False
    ends = np.array([0.0, 2.0**bits - 1]) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
    modality = values.astype(np.float64)
    for item in _items(dataset, "ModalityLUTSequence"):
        first, entries, _ = _table(path, item, values, occurs)
        modality, by_table = _look_up(values, first, entries), True
        break
    else:
        slope, intercept = (
            _rescale(path, dataset, *default)
            for default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        )
        modality, ends = modality * slope + intercept, ends * slope + intercept
    for item in _items(dataset, "VOILUTSequence"):
        first, entries, full = _table(path, item, modality, occurs)
        return _look_up(modality, first, entries), 0.0, full
    for shares in _windowed(path, modality, dataset):
        return shares, 0.0, 1.0
    if bits <= 8 and not by_table:
        return modality, float(ends.min()), float(ends.max())
    return modality, float(modality[occurs].min()), float(modality[occurs].max())


def _rescale(path: Path, dataset: Dataset, name: str, default: float) -> float:
    number = next(iter(numbers(dataset, name)), default)
    if not math.isfinite(number) or (name == "RescaleSlope" and number == 0):
        raise UserError(f"{path}: its {name} is not legal; leave it out")
    return number


def _windowed(path: Path, values: np.ndarray, dataset: Dataset) -> Iterator[np.ndarray]:
    """0 to 1 by every window that can be used (C.11.2.1.2, C.11.2.1.3).

    One whose width is 0, negative or text is as good as none, as viewers have it.
    """
    function = str(dataset.get("VOILUTFunction") or "").strip(" \0").upper() or "LINEAR"
    centers, widths = (numbers(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    for center, width in zip(centers, widths, strict=False):
        if not (math.isfinite(center) and 0 < width < math.inf):
            continue
        if function == "SIGMOID":
            with np.errstate(over="ignore"):
                yield 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT":
            yield (values - center) / width + 0.5
        elif function != "LINEAR":
            raise UserError(f"{path}: its VOILUTFunction (0028,1056) is none; leave it out")
        elif width > 1:
            yield (values - (center - 0.5)) / (width - 1) + 0.5
        elif width == 1:
            yield np.where(values > center - 0.5, 1.0, 0.0)


def palette(path: Path, values: np.ndarray, occurs: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Stored values of a PALETTE COLOR image to luminance (C.7.6.3.1.5, C.7.9.2).

    Returns:
        ``(n,)`` float64, 0 to 1.

    Raises:
        UserError: A table is missing, or shorter than it declares.
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        names = (f"{colour}PaletteColorLookupTable{part}" for part in ("Descriptor", "Data"))
        descriptor, data = names
        if data not in dataset and f"Segmented{data}" in dataset:
            narrow = _descriptor(path, dataset, descriptor)[2] <= 8
            codes = _words(dataset, f"Segmented{data}").astype("<u2")
            segments = (codes.view(np.uint8) if narrow else codes).tolist()
            entries = _expand([], segments, 1 if narrow else 2)
            setattr(dataset, data, np.array(entries, "<u2").tobytes())
        tables.append(_table(path, dataset, values, occurs, descriptor, data))
    full = max(full for _, _, full in tables)
    colours = [_look_up(values, first, entries) for first, entries, _ in tables]
    return np.asarray(np.stack(colours, -1) @ LUMINANCE.astype(np.float64) / (full or 1))


def _expand(
    entries: list[int], codes: list[int], width: int, start: int = 0, count: int | None = None
) -> list[int]:
    """Add what a segmented table describes (C.7.9.2), ``width`` bytes a code, to entries.

    Not by pydicom, which takes the offset of an indirect segment for one of codes, not of bytes.
    """
    end = len(codes) - 1  # a last code may be padding
    while start < end and count != 0 and len(entries) <= 1 << 16:
        kind, length = codes[start : start + 2]
        start += 2
        if kind == 0:
            entries += codes[start : start + length]
            start += length
        elif kind == 1:
            ramp = np.linspace(entries[-1], codes[start], length + 1)[1:]
            entries += np.rint(ramp).astype(int).tolist()
            start += 1
        elif kind == 2 and count is None:
            parts = codes[start : start + 4 // width]
            offset = sum(part << 8 * width * i for i, part in enumerate(parts))
            _expand(entries, codes, width, offset // width, length)
            start += len(parts)
        else:
            raise ValueError("no such segment")
        count = None if count is None else count - 1
    return entries


def _items(dataset: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence of LUTs that hold one: writers leave empty ones behind."""
    elements = [(item, item.get_item("LUTData")) for item in dataset.get(name) or ()]
    return [item for item, element in elements if element is not None and element.value]


def _table(
    path: Path,
    item: Dataset,
    values: np.ndarray,
    occurs: np.ndarray,
    descriptor: str = "LUTDescriptor",
    data: str = "LUTData",
) -> tuple[int, np.ndarray, float]:
    """A table as C.11.1.1, C.11.2.1.1 and C.7.6.3.1.5 have it: its first value, entries, brightest.

    Not by pydicom: the count is unsigned whatever the VR; entries of 8 bits may stand two in a
    word, or each in a word; and of the two readings of a first value that of the table which lies
    over the image's own values is taken, as its VR is often wrong.
    """
    count, first, bits = _descriptor(path, item, descriptor)
    words = _words(item, data)
    if len(words) >= count:
        entries = words[:count]
    elif 2 * len(words) in (count, count + 1):
        entries = words.astype("<u2").view(np.uint8)[:count]
    else:
        raise UserError(
            f"{path}: its LUT declares {count} entries, {len(words)} are there; leave it out"
        )
    if bits <= 8 and entries.max() > 255 and not (entries & 255).any():
        entries = entries >> 8  # 8 bits at the upper end of a word
    seen = values[occurs]
    readings = {first, first - (1 << 16) if first >= 1 << 15 else first}
    first = max(
        readings,
        key=lambda start: (
            np.count_nonzero((seen >= start) & (seen < start + count)),
            (start < 0) == (seen.min() < 0),
        ),
    )
    # A quarter of the brightness at most is no film: the entries have fewer bits than declared.
    own = int(entries.max()).bit_length()
    if own > bits or own <= bits - 2:
        bits = own
    return first, entries, 2.0**bits - 1


def _descriptor(path: Path, item: Dataset, name: str) -> tuple[int, int, int]:
    """Number of entries, first value mapped (as unsigned), bits of an entry."""
    described = _words(item, name) if name in item else None
    if described is None or len(described) != 3:
        raise UserError(f"{path}: its LUT has no descriptor; leave it out")
    count, first, bits = (int(number) for number in described)
    return count or 1 << 16, first, bits


def _look_up(values: np.ndarray, first: int, entries: np.ndarray) -> np.ndarray:
    """Values beyond a table get its first or its last entry."""
    index = np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)
    return np.asarray(entries[index], np.float64)


def _words(dataset: Dataset, name: str) -> np.ndarray:
    """An element as words of 16 bits, unsigned whatever its VR says."""
    element = dataset.get_item(name)
    value = element.value
    if not isinstance(value, bytes):
        return np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF
    little = element.is_little_endian if isinstance(element, RawDataElement) else True
    order = "<u2" if little or element.VR == "OB" else ">u2"
    return np.frombuffer(value[: len(value) // 2 * 2], order)


def numbers(dataset: Dataset, name: str) -> list[float]:
    """An element as numbers, [] if absent or blank; NaN for what is none.

    A comma is taken for the decimal point that some systems write so.
    """
    element = dataset.get_item(name)
    if element is None or element.value in (None, b"", ""):
        return []
    value = element.value
    if isinstance(value, bytes) and element.VR not in _BINARY:
        text = value.decode("latin-1").strip(" \0")
        return [_number(part) for part in text.split("\\")] if text else []
    value = dataset[name].value
    return [_number(str(part)) for part in np.atleast_1d(np.asarray(value, object))]


def _number(text: str) -> float:
    try:
        return float(text.strip(" \0").replace(",", "."))
    except ValueError:
        return math.nan
