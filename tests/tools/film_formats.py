"""Write docs/dicom.md: which films are read, by transfer syntax and kind, each read to see.

python -m tests.tools.film_formats
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import Dataset, Sequence, uid
from pydicom.encaps import encapsulate

from common.base.errors import UserError
from common.imaging import read_radiograph
from common.imaging.decoders import PLUGINS
from tests.helpers.dicom_frames import TOLERANCE, WRITTEN, items, write_film
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dicom.md"
HEAD = """# Which films are read

Written by `python -m tests.tools.film_formats`, which makes a film of every row, reads it and compares
the picture with the formula of the standard; a test fails where this page is not what it writes.
What is refused is named with its reason and left out.

## By transfer syntax

Exact, or within so many of 256 grey levels where the code has loss; –: the syntax has no such kind.

"""  # noqa: E501
GREY = soft_image()
DEEP = GREY.astype(np.int64) * 4095 // 255
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY // 2], axis=-1)
LUMINANCE = COLOUR @ [0.299, 0.587, 0.114]


def _stretched(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min()) * 255.0


KINDS = {
    "grey, 8 bits": (GREY, 8, GREY),
    "12 bits": (DEEP.astype(np.uint16), 12, _stretched(DEEP)),
    "16 bits": (DEEP.astype(np.uint16) * 16, 16, _stretched(DEEP)),
    "signed, 12 bits": ((DEEP - 2048).astype(np.int16), 12, _stretched(DEEP)),
    "colour": (COLOUR, 8, LUMINANCE),
}


def syntax_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """A row for each transfer syntax that is read."""
    yield ("transfer syntax", "UID", "decoded by", *KINDS)
    for syntax in WRITTEN:
        tolerance, cells = TOLERANCE.get(syntax, 0), []
        for array, bits, right in KINDS.values():
            turns_over = array.dtype.kind == "i" and tolerance  # two's complement, with loss
            path = None if turns_over else write_film(folder / "film.dcm", syntax, array, bits)
            cells.append(_cell(path, right, tolerance))
        decoder = "Pillow" if syntax == uid.JPEGBaseline8Bit else PLUGINS.get(syntax, "–")
        yield (syntax.name, syntax, decoder.replace("pillow", "Pillow"), *cells)


def refused_syntaxes(folder: Path) -> Iterator[str]:
    """The names of the others that pydicom knows."""
    for syntax in uid.AllTransferSyntaxes:
        if syntax not in WRITTEN:
            data = encapsulate([b"\0" * 99])
            path = write_dicom(folder / "film.dcm", GREY, syntax, PixelData=data)
            if _cell(path, GREY, 0) != f"refused: nothing here decodes {syntax.name}; convert it":
                raise SystemExit(f"{syntax.name} is not refused by its name")
            yield f"{syntax.name} ({syntax})"


def _cell(path: Path | None, right: np.ndarray | None, tolerance: float) -> str:
    if path is None:
        return "–"
    try:
        shown = read_radiograph(path).pixels
    except UserError as error:
        return f"refused: {str(error).removeprefix(f'{path}: ').replace('|', ' ')}"
    if right is None:
        return "read"
    wrong = np.abs(shown - right.astype(float)).max()
    if wrong > tolerance + 0.51:
        return f"WRONG by {wrong:.0f}"
    return f"within {tolerance} of 256" if tolerance else "exact"


def _lut(entries: np.ndarray, first: int, bits: int, data: bytes | None = None) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first % 65536, bits]
    item.add_new("LUTData", "OW", data or entries.astype("<u2").tobytes())
    return Sequence([item])


def odd_films() -> dict[str, tuple[Callable[[Path], Path], np.ndarray | None]]:
    """Odd films by what is odd: how each is written, and what is right (None: refused)."""
    wide, curve = DEEP.astype(np.uint16), np.rint(4095 * np.linspace(0, 1, 4096) ** 0.6).astype(int)
    by_curve, deep = curve[DEEP] / 4095 * 255, _stretched(DEEP)
    jpeg, fit = jpeg_bytes(GREY, quality=100), {"WindowCenter": 2048, "WindowWidth": 4096}
    middle = np.full_like(GREY, 128)
    signed = imagecodecs.jpeg2k_encode(
        DEEP.astype(np.int16), level=0, reversible=True, codecformat="j2k", bitspersample=16
    )
    group, window = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = fit["WindowCenter"], fit["WindowWidth"]
    group.FrameVOILUTSequence = Sequence([window])
    tables = {}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tables[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()

    def film(pixels: np.ndarray, **options) -> Callable[[Path], Path]:
        return lambda path: write_dicom(path, pixels, **options)

    def in_12(**options) -> Callable[[Path], Path]:
        return film(wide, bits=12, **options)

    def fragments(*parts: bytes) -> Callable[[Path], Path]:
        return film(GREY, syntax=uid.JPEGBaseline8Bit, PixelData=items(*parts))

    return {
        "MONOCHROME1": (film(GREY, photometric="MONOCHROME1"), 255 - GREY),
        "MONOCHROME2 with the Presentation LUT Shape INVERSE":
            (film(GREY, PresentationLUTShape="INVERSE"), 255 - GREY),
        "MONOCHROME1 with INVERSE (one inversion)":
            (film(GREY, photometric="MONOCHROME1", PresentationLUTShape="INVERSE"), 255 - GREY),
        "a palette of 8-bit entries in 16-bit words":
            (film(GREY, photometric="PALETTE COLOR", **tables), GREY),
        "a VOI LUT": (in_12(VOILUTSequence=_lut(curve, 0, 12)), by_curve),
        "a VOI LUT of negative values, its first value written as unsigned":
            (in_12(RescaleSlope=1, RescaleIntercept=-2048, VOILUTSequence=_lut(curve, -2048, 12)),
             by_curve),
        "a VOI LUT that declares 16 bits, its entries have 12":
            (in_12(VOILUTSequence=_lut(curve, 0, 16)), by_curve),
        "a LUT with fewer entries than it declares":
            (in_12(VOILUTSequence=_lut(curve, 0, 12, b"\0\1" * 3000)), None),
        "an empty item of a LUT next to a window":
            (in_12(VOILUTSequence=Sequence([Dataset()]), **fit), deep),
        "several windows, the first of width 0":
            (in_12(WindowCenter=[9, 2048], WindowWidth=[0, 4096]), deep),
        "a window of width 0 alone (shown from least to greatest)":
            (in_12(WindowCenter=9, WindowWidth=0), deep),
        "a VOI LUT Function that is none": (in_12(VOILUTFunction="CURVED", **fit), None),
        "12 bits at the upper end of a word (HighBit 15)":
            (film(wide << 4, bits=12, HighBit=15), deep),
        "overlays in the bits above": (film(wide | 0x8000, bits=12), deep),
        "HighBit below BitsStored, and bits above it": (film(wide << 4, bits=16, HighBit=11), None),
        "padding (shown as 0)":
            (film(np.where(DEEP < 100, 65535, DEEP).astype(np.uint16), PixelPaddingValue=65535),
             np.where(DEEP < 100, 0, (DEEP - 112.0) / (4095 - 112) * 255)),
        "a grey film as YCbCr under the label RGB":
            (film(np.stack([GREY, middle, middle], -1), photometric="RGB"), GREY),
        "a JPEG without an offset table": (fragments(jpeg), GREY),
        "an offset table that points behind the end": (fragments(b"\xff\xff\0\0", jpeg), GREY),
        "one frame in several fragments": (fragments(b"", jpeg[:400], jpeg[400:]), GREY),
        "two frames": (film(GREY, NumberOfFrames=2, PixelData=GREY.tobytes() * 2), None),
        "two frames, and one declared": (fragments(b"", jpeg, jpeg), None),
        "a JPEG that is cut short": (fragments(b"", jpeg[:400]), None),
        "pixels that are cut short": (film(GREY, PixelData=GREY.tobytes()[:-50]), None),
        "declares compression that is not there":
            (film(GREY, syntax=uid.JPEGLosslessSV1, PixelData=encapsulate([GREY.tobytes()])), None),
        "an 8-bit JPEG under the header of a film of 12 bits":
            (film(GREY, jpeg=jpeg, BitsAllocated=16, BitsStored=12, HighBit=11, **fit), GREY),
        "a signed codestream of JPEG 2000 under an unsigned header":
            (in_12(syntax=uid.JPEG2000Lossless, PixelData=encapsulate([signed]), **fit), deep),
        "the window in a functional group of an enhanced object":
            (in_12(SharedFunctionalGroupsSequence=[group]), deep),
        "no preamble and no file meta": (film(GREY, bare=True), GREY),
        "1 x 1 pixel": (film(GREY[:1, :1]), GREY[:1, :1]),
        "1 x 20,000 pixels": (film(np.resize(GREY, (1, 20_000))), np.resize(GREY, (1, 20_000))),
        "1 x 20,001 pixels": (film(np.resize(GREY, (1, 20_001))), None),
        "no byte at all": (lambda path: path.write_bytes(b"") or path, None),
        "a text named .dcm": (lambda path: path.write_bytes(b"Dear colleague" * 20) and path, None),
    }  # fmt: skip


def odd_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """A row for each odd film."""
    yield "film", "result"
    for name, (write, right) in odd_films().items():
        # A quality of 100 is no lossless code.
        tolerance = 1 if "JPEG" in name or "offset" in name or "fragments" in name else 0.01
        cell = _cell(write(folder / "film.dcm"), right, tolerance)
        yield name, cell if cell.startswith(("refused", "WRONG")) else "read"


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        syntaxes, films = _markdown(syntax_rows(folder)), _markdown(odd_rows(folder))
        refused = "; ".join(refused_syntaxes(folder))
    return (
        f"{HEAD}{syntaxes}\nRefused by name, whatever they hold: {refused}; and any that has come "
        f"into the standard since.\n\n## By kind\n\n{films}"
    )


def _markdown(rows: Iterator[tuple[str, ...]]) -> str:
    head, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *others]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
