"""One compressed frame: out of its fragments, and what its own header says of it.

A codestream's header is believed before the DICOM header around it: converters change labels and
leave the bytes as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from common.base.errors import UserError

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
"""How a fragment begins, and what ends a value of undefined length (PS3.5 A.4)."""

# How a JPEG, a codestream of JPEG 2000, and one in a JP2 file begin.
CODESTREAM = b"\xff\x4f\xff\x51"
_BEGINNINGS = (b"\xff\xd8\xff", CODESTREAM, b"\x00\x00\x00\x0cjP  ")

# Second bytes of the frame headers of T.81 table B.1, and of JPEG-LS (T.87 C.1.1).
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
JPEG_LS = 0xF7
"""The process of JPEG-LS."""

# What ends a scan: a marker that is no stuffed zero, restart or fill byte (T.81 B.1.1.2).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class FrameHeader(NamedTuple):
    """What a codestream says of itself.

    Attributes:
        process: The second byte of a JPEG's frame header (T.81 table B.1); 0 for JPEG 2000.
        bits: Of a sample.
        columns: Width in pixels.
        rows: Height in pixels.
        colours: "RGB" or "YBR_FULL" where it names its colours, else "".
        is_signed: Whether its samples have a sign, of JPEG 2000 (ISO/IEC 15444-1 A.5.1, Ssiz).
        is_reversible: Whether it is JPEG 2000 by the 5-3 wavelet (A.6.1), or JPEG-LS with NEAR 0
            (T.87 C.2.3), both without loss.
    """

    process: int
    bits: int
    columns: int
    rows: int
    colours: str
    is_signed: bool = False
    is_reversible: bool = False

    @property
    def is_8_bit_dct(self) -> bool:
        """Whether it is the JPEG that every program reads, sequential or progressive."""
        return self.bits == 8 and 0xC0 <= self.process <= 0xC2


def joined_frame(path: Path, data: bytes) -> bytes:
    """The frame in the encapsulated pixel data of a film (PS3.5 A.4).

    All fragments are the one frame's, so no offset table is needed; whether there is one, and what
    stands in it, makes no difference.

    Raises:
        UserError: A fragment is cut short, or several frames are there.
    """
    fragments, start = [], 0
    while data[start : start + 4] == ITEM:
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        if end > len(data):
            raise UserError(f"{path}: cut short within its pixels; fetch it again")
        fragments.append(data[start + 8 : end])
        # Some writers pad an odd fragment without counting the padding.
        start = end + (data[end : end + 4] != ITEM and data[end + 1 : end + 5] == ITEM)
    fragments = [fragment for fragment in fragments if fragment]
    if fragments and not _begins(fragments[0]):
        del fragments[0]  # the basic offset table
    if (frames := 1 + sum(map(_begins, fragments[1:]))) > 1:
        raise UserError(
            f"{path}: has {frames} frames and declares one; write the one that is meant to its own "
            "file"
        )
    return b"".join(fragments)


def _begins(fragment: bytes) -> bool:
    """Whether a frame begins with this fragment; RLE by its header of 64 bytes (PS3.5 G.5)."""
    segments, first = (int.from_bytes(fragment[i : i + 4], "little") for i in (0, 4))
    return fragment.startswith(_BEGINNINGS) or (1 <= segments <= 15 and first == 64)


def frame_header(frame: bytes) -> FrameHeader | None:
    """The header of a JPEG, a JPEG-LS or a JPEG 2000 codestream; None for anything else."""
    if frame.startswith(b"\xff\xd8"):
        return _jpeg_header(frame)
    start = frame.find(CODESTREAM) if frame.startswith(_BEGINNINGS[1:]) else -1
    if start < 0 or len(frame) < start + 50:
        return None
    # Xsiz, Ysiz, XOsiz and YOsiz of ISO/IEC 15444-1 A.5.1.
    x_end, y_end, x_start, y_start = (
        int.from_bytes(frame[start + i : start + i + 4], "big") for i in (8, 12, 16, 20)
    )
    sign, bits = frame[start + 42] & 0x80, (frame[start + 42] & 0x7F) + 1
    coding = _coding(frame, start + 2)
    colours = "RGB" if coding[8:9] == b"\x01" else ""
    size = x_end - x_start, y_end - y_start
    return FrameHeader(0, bits, *size, colours, bool(sign), coding[13:14] == b"\x01")


def _coding(frame: bytes, start: int) -> bytes:
    """The marker segment COD of ISO/IEC 15444-1 A.6.1, from its marker on; b"" if absent.

    Its ninth byte tells whether components are turned to RGB, its fourteenth the wavelet.
    """
    while frame[start : start + 2] not in (b"\xff\x52", b"\xff\x90", b""):
        start += 2 + int.from_bytes(frame[start + 2 : start + 4], "big")
    return frame[start : start + 14] if frame[start : start + 2] == b"\xff\x52" else b""


def _jpeg_header(frame: bytes) -> FrameHeader | None:
    """T.81 B.2.2, T.87 C.2.2; the colours as libjpeg tells them: JFIF, Adobe, then names."""
    start, colours, header = 2, "", None
    while frame[start : start + 1] == b"\xff" and start + 10 <= len(frame):
        marker, end = frame[start + 1], start + 2 + int.from_bytes(frame[start + 2 :][:2], "big")
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if marker == 0xE0 and frame[start + 4 : start + 8] == b"JFIF":
            colours = "YBR_FULL"
        elif marker == 0xEE and frame[start + 4 : start + 9] == b"Adobe" and not colours:
            colours = "YBR_FULL" if frame[start + 15 : start + 16] == b"\x01" else "RGB"
        elif marker in _FRAME_HEADERS:
            components = frame[start + 10 : end]
            if not colours and components[::3] in (b"RGB", b"rgb"):
                colours = "RGB"
            elif not colours and len(set(components[1::3])) > 1:
                colours = "YBR_FULL"  # nothing but chroma is sampled more coarsely
            rows, columns = (int.from_bytes(frame[start + i :][:2], "big") for i in (5, 7))
            header = FrameHeader(marker, frame[start + 4], columns, rows, colours)
            if marker != JPEG_LS:
                return header
        elif header and marker == 0xDA:
            # NEAR follows two bytes for each component.
            near = frame[start + 5 + 2 * frame[start + 4] :][:1]
            return header._replace(is_reversible=near == b"\0")
        start = end
    return header


def bare_jpeg(frame: bytes) -> bytes:
    """A JPEG from SOI to EOI without its APPn and COM segments (ITU-T T.81 B.2).

    Text may stand in these and after the end; the decoded pixels stay the same.

    Raises:
        ValueError, IndexError: It is cut short, or no JPEG.
    """
    segments, start = [frame[:2]], 2
    while frame[start : start + 2] != b"\xff\xd9":
        if frame[start] != 0xFF:  # at the end an IndexError: cut short
            raise ValueError("no marker")
        marker = frame[start + 1]
        end = start + 2 + int.from_bytes(frame[start + 2 : start + 4], "big")
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            segments.append(frame[start:end])
        if marker == 0xDA:  # its scan runs to the next marker
            scan = _NEXT_MARKER.search(frame, end)
            if scan is None:
                raise ValueError("no end")
            segments.append(frame[end : scan.start()])
            end = scan.start()
        start = end
    return b"".join([*segments, b"\xff\xd9"])
