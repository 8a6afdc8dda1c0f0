"""One frame out of its fragments, whatever stands around it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate_extended

from common.base.errors import UserError
from common.imaging.dicom import read_header, read_radiograph
from tests.helpers.dicom_frames import frame, items
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom

JPEG = jpeg_bytes(soft_image())
ODD = JPEG + b"\0" * (1 - len(JPEG) % 2)
THIRD = len(JPEG) // 6 * 2
FRAMES = {
    uid.JPEGBaseline8Bit: JPEG,
    **{
        syntax: frame(syntax, soft_image(), 8)
        for syntax in (uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless)
    },
}


def rle(pixels):
    """PS3.5 annex G: one segment of literal runs."""
    runs = [pixels.tobytes()[i : i + 128] for i in range(0, pixels.size, 128)]
    coded = b"".join(bytes([len(run) - 1]) + run for run in runs)
    return struct.pack("<16I", 1, 64, *[0] * 14) + coded + b"\0" * (len(coded) % 2)


FRAMES[uid.RLELossless] = rle(soft_image())


def read(path, data, syntax=uid.JPEGBaseline8Bit, **elements):
    return read_radiograph(
        write_dicom(path, soft_image(), syntax, PixelData=data, **elements)
    ).pixels


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(
    "table",
    [None, b"", struct.pack("<I", 0), struct.pack("<I", 1_000_000), struct.pack("<3I", 0, 9, 5)],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_frame_with_any_offset_table_or_none(tmp_path, syntax, table, parts):
    content = FRAMES[syntax]
    step = len(content) // parts // 2 * 2 + 2
    fragments = [content[i : i + step] for i in range(0, len(content), step)]
    data = items(*([] if table is None else [table]), *fragments)
    expected = soft_image()
    if syntax == uid.JPEGBaseline8Bit:
        expected = np.asarray(Image.open(io.BytesIO(JPEG)))
    assert np.array_equal(read(tmp_path / "a.dcm", data, syntax), expected)


@pytest.mark.parametrize(
    "data",
    [
        items(b"", ODD, padded=False),
        items(b"", ODD[:301], ODD[301:], padded=False),
        items(b"", ODD, padded=False) + b"\0",
        items(b"", ODD[:301], padded=False) + b"\0" + items(ODD[301:], padded=False),
        items(b"", JPEG + b"\0" * 37),
        items(b"", JPEG, b"\0" * 8),
        items(b"", b"", JPEG),
        items(b"", JPEG[:THIRD], JPEG[THIRD : 2 * THIRD], JPEG[2 * THIRD :]),
    ],
)
def test_odd_and_several_fragments(tmp_path, data):
    assert np.array_equal(read(tmp_path / "a.dcm", data), np.asarray(Image.open(io.BytesIO(JPEG))))


def test_extended_offset_tables_are_not_needed(tmp_path):
    data, offsets, lengths = encapsulate_extended([JPEG])
    expected = np.asarray(Image.open(io.BytesIO(JPEG)))
    for table in ((offsets, lengths), (struct.pack("<Q", 10**9), lengths), (offsets, b"\7" * 8)):
        tables = {"ExtendedOffsetTable": table[0], "ExtendedOffsetTableLengths": table[1]}
        assert np.array_equal(read(tmp_path / "a.dcm", data, **tables), expected)


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.name)
def test_a_file_that_ends_with_its_frame(tmp_path, syntax):
    path = write_dicom(
        tmp_path / "a.dcm", soft_image(), syntax, PixelData=items(b"", FRAMES[syntax])
    )
    expected, content = read_radiograph(path).pixels, path.read_bytes()
    assert content.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    path.write_bytes(content[:-8])
    assert np.array_equal(read_radiograph(path).pixels, expected)
    assert read_header(path).rows == 40
    path.write_bytes(content + b"\0" * 10)
    assert np.array_equal(read_radiograph(path).pixels, expected)
    path.write_bytes(content[:-30])
    with pytest.raises(UserError, match="cut short within its pixels"):
        read_radiograph(path)


def test_frames_that_are_not_declared_are_refused(tmp_path):
    for syntax, content in FRAMES.items():
        for table in ([b""], []):
            with pytest.raises(UserError, match="has 2 frames and declares one"):
                read(tmp_path / "a.dcm", items(*table, content, content), syntax)
