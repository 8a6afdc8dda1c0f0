"""Lookup tables, rescales, windows and palettes, also as writers get them wrong."""

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, Sequence, uid

from common.base.errors import UserError
from common.imaging.dicom import read_radiograph
from tests.helpers.fixtures import soft_image, write_dicom

BITS_12 = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
SIGNED = (np.arange(64 * 64).reshape(64, 64) * 16 - 32768).astype(np.int16)
ENCODINGS = pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)


def lut(first, bits, entries, syntax=uid.ExplicitVRLittleEndian, count=None, vr="US", packed=False):
    """A sequence of one item, each of its words as its transfer syntax has it."""
    order = "<" if syntax.is_little_endian else ">"
    words = np.asarray(entries).astype("u1" if packed else f"{order}u2")
    if packed and order == ">":
        words = words.reshape(-1, 2)[:, ::-1]  # the first of two is the low byte
    count = (len(entries) if count is None else count) % 65536
    if vr == "SS":
        first = (first + 32768) % 65536 - 32768
    described = [count, first if vr == "SS" else first % 65536, bits]
    item = Dataset()
    item.add_new("LUTDescriptor", vr, described)
    item.add_new("LUTData", "OW", words.tobytes())
    return Sequence([item])


def looked_up(values, first, entries):
    """PS3.3 C.11.2.1.1."""
    return np.asarray(entries)[np.clip(values.astype(int) - first, 0, len(entries) - 1)]


def as_8_bits(shares):
    return np.rint(np.clip(shares, 0, 1) * 255)


@pytest.fixture
def picture(tmp_path):
    return lambda pixels, *arguments, **options: (
        read_radiograph(write_dicom(tmp_path / "image.dcm", pixels, *arguments, **options)).pixels
    )


# ---- Tables


@ENCODINGS
@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("count", [32767, 32768, 40000, 65536])
def test_a_count_is_unsigned_whatever_its_vr(picture, syntax, vr, count):
    entries = np.rint(65535 * np.linspace(0, 1, count) ** 1.5)
    table = lut(-20000, 16, entries, syntax, vr=vr)
    expected = looked_up(SIGNED, -20000, entries)
    shown = picture(SIGNED, syntax, VOILUTSequence=table)
    assert np.array_equal(shown, as_8_bits(expected / 65535))
    window = {"WindowCenter": 30000, "WindowWidth": 60000}
    shown = picture(SIGNED, syntax, ModalityLUTSequence=table, **window)
    assert np.array_equal(shown, as_8_bits((expected - 29999.5) / 59999 + 0.5))


@ENCODINGS
@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize(
    ("pixels", "intercept", "first"),
    [
        (BITS_12, -2048, -1000),  # written as 64536
        (BITS_12, 0, 1000),
        ((BITS_12.astype(np.int32) * 16).astype(np.uint16), 0, 40000),  # written as -25536 by SS
        (BITS_12.astype(np.int16) - 2048, 0, -1000),
    ],
)
def test_a_table_lies_over_the_values_of_its_film(picture, syntax, vr, pixels, intercept, first):
    entries = np.rint(4095 * np.linspace(0, 1, 2001) ** 0.7)
    rescale = {"RescaleSlope": 1, "RescaleIntercept": intercept}
    table = lut(first, 12, entries, syntax, vr=vr)
    shown = picture(pixels, syntax, VOILUTSequence=table, **rescale)
    expected = looked_up(pixels.astype(int) + intercept, first, entries)
    assert np.array_equal(shown, as_8_bits(expected / 4095))


@ENCODINGS
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("count", [256, 500])
def test_entries_of_8_bits_stand_in_words_or_two_in_one(picture, syntax, packed, count):
    entries = np.rint(255 * np.linspace(0, 1, count) ** 2)
    table = lut(1800, 8, entries, syntax, packed=packed)
    expected = looked_up(BITS_12, 1800, entries) / 255
    assert np.array_equal(picture(BITS_12, syntax, VOILUTSequence=table), as_8_bits(expected))


@pytest.mark.parametrize(("declared", "own"), [(16, 12), (16, 14), (12, 10), (8, 12), (10, 16)])
def test_entries_are_scaled_by_their_own_bits(picture, declared, own):
    entries = np.rint((2**own - 1) * np.linspace(0, 1, 4096) ** 0.6)
    shown = picture(BITS_12, VOILUTSequence=lut(0, declared, entries))
    assert np.array_equal(shown, as_8_bits(entries[BITS_12] / (2**own - 1)))


def test_entries_of_nearly_all_bits_are_scaled_by_those_declared(picture):
    entries = np.linspace(0, 40000, 4096).astype(int)
    shown = picture(BITS_12, VOILUTSequence=lut(0, 16, entries))
    assert np.array_equal(shown, as_8_bits(entries[BITS_12] / 65535))
    entries = np.linspace(0, 20000, 4096).astype(int)
    shown = picture(BITS_12, VOILUTSequence=lut(0, 16, entries))
    assert np.array_equal(shown, as_8_bits(entries[BITS_12] / 65535))


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_an_item_without_a_table_is_none(picture, name):
    window = {"WindowCenter": 2048, "WindowWidth": 3600, "RescaleSlope": 2, "RescaleIntercept": -9}
    expected = picture(BITS_12, **window)
    explained = Dataset()
    explained.LUTExplanation = "none"
    for items in ([Dataset()], [explained, Dataset()], []):
        assert np.array_equal(picture(BITS_12, **window, **{name: Sequence(items)}), expected)
    table = lut(0, 12, np.arange(4096)[::-1])[0]
    window["WindowCenter"] = 2000
    shown = picture(BITS_12, **window, **{name: Sequence([Dataset(), table])})
    assert np.array_equal(shown, picture(BITS_12, **window, **{name: Sequence([table])}))


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("change", ["count", "descriptor", "no descriptor"])
def test_a_table_that_is_none_is_refused(picture, name, change):
    table = lut(0, 12, np.arange(2000), count=4096 if change == "count" else None)
    if change == "descriptor":
        table[0].LUTDescriptor = [2000, 0]
    if change == "no descriptor":
        del table[0].LUTDescriptor
    with pytest.raises(UserError, match=r"its LUT (declares 4096 entries, 2000|has no descriptor)"):
        picture(BITS_12, **{name: table})


# ---- Rescale


def test_a_rescale_with_one_half_missing(picture):
    window = {"WindowCenter": 1000, "WindowWidth": 401}
    halves = [({"RescaleSlope": 2}, 2.0 * BITS_12), ({"RescaleIntercept": -500}, BITS_12 - 500.0)]
    for rescale, values in halves:
        expected = as_8_bits((values - 999.5) / 400 + 0.5)
        assert np.array_equal(picture(BITS_12, **rescale, **window), expected)


# ---- Windows: text, as it stands in the file


def with_window(path, center, width, **elements):
    """A film with any bytes as its window."""
    write_dicom(path, BITS_12, bits=12, WindowCenter="1" * 16, WindowWidth="2" * 16, **elements)
    content = path.read_bytes()
    content = content.replace(b"1" * 16, center.encode().ljust(16))
    path.write_bytes(content.replace(b"2" * 16, width.encode().ljust(16)))
    return path


@pytest.mark.parametrize(
    ("center", "width", "meant"),
    [
        ("2048,5", "3600,0", (2048.5, 3600)),
        ("0\\2000", "0\\3000", (2000, 3000)),
        ("AUTO\\2000", "AUTO\\3000", (2000, 3000)),
        ("100\\2000", "-5\\3000", (2000, 3000)),
        ("\\2000", "\\3000", (2000, 3000)),
        ("2000\\9\\10", "3000\\50", (2000, 3000)),
        ("2.0E3", "+3000", (2000, 3000)),
        ("2048\0", "3600 ", (2048, 3600)),
        ("2048", "0", None),
        ("2048", "0.5", None),
        ("2048", "-3600", None),
        ("AUTO", "AUTO", None),
        ("nan", "inf", None),
        ("2048", "", None),
        ("\\", "\\", None),
    ],
)
def test_the_first_window_that_can_be_used(tmp_path, center, width, meant):
    expected = BITS_12 / 4095
    if meant:
        expected = (BITS_12 - (meant[0] - 0.5)) / (meant[1] - 1) + 0.5
    shown = read_radiograph(with_window(tmp_path / "a.dcm", center, width)).pixels
    assert np.array_equal(shown, as_8_bits(expected))


def test_a_window_without_its_other_half_is_none(picture):
    for half in ({"WindowCenter": 1000}, {"WindowWidth": 1000}):
        assert np.array_equal(picture(BITS_12, bits=12, **half), as_8_bits(BITS_12 / 4095))


def test_a_rescale_or_a_function_of_words_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"VOILUTFunction \(0028,1056\) is none"):
        read_radiograph(with_window(tmp_path / "a.dcm", "9", "9", VOILUTFunction="CURVED"))
    for slope in ("x" * 8, "0" * 8):
        path = write_dicom(tmp_path / "a.dcm", BITS_12, RescaleSlope="3" * 8, RescaleIntercept=0)
        path.write_bytes(path.read_bytes().replace(b"3" * 8, slope.encode()))
        with pytest.raises(UserError, match="RescaleSlope is not legal"):
            read_radiograph(path)


# ---- Palettes

RAMP = np.arange(256)
RED, GREEN, BLUE = RAMP * RAMP, 65535 - RAMP * 200, RAMP * 911 % 65536


def palette(tables, bits, syntax=uid.ExplicitVRLittleEndian, first=0, packed=False):
    made = {}
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        item = lut(first, bits, table, syntax, packed=packed)[0]
        made[f"{name}PaletteColorLookupTableDescriptor"] = [len(table), first, bits]
        made[f"{name}PaletteColorLookupTableData"] = item.LUTData
    return {"photometric": "PALETTE COLOR", **made}


def luminance(tables, index, full):
    return as_8_bits(np.stack([t[index] for t in tables], -1) @ [0.299, 0.587, 0.114] / full)


@ENCODINGS
@pytest.mark.parametrize("form", ["16", "8 in 16", "8 packed", "8 at the upper end", "16 of 8"])
def test_a_palette_in_every_form(picture, syntax, form):
    tables = [RED, GREEN, BLUE] if form == "16" else [t // 257 for t in (RED, GREEN, BLUE)]
    bits, full = (16, 65535) if form == "16" else (16 if form == "16 of 8" else 8, 255)
    stored = [t << 8 for t in tables] if "upper" in form else tables
    shown = picture(
        soft_image(), syntax, **palette(stored, bits, syntax, packed=form == "8 packed")
    )
    expected = luminance(tables, soft_image(), full)
    assert np.abs(shown - expected).max() <= (1 if form == "16" else 0)


def test_a_palette_of_other_first_values(picture):
    tables = [t // 257 for t in (RED, GREEN, BLUE)]
    signed = soft_image().astype(np.int16) - 128
    shown = picture(signed, **palette(tables, 8, first=-128))
    assert np.array_equal(shown, luminance(tables, soft_image(), 255))
    shown = picture(soft_image().astype(np.uint16) + 40000, **palette(tables, 8, first=40000))
    assert np.array_equal(shown, luminance(tables, soft_image(), 255))
    shown = picture(soft_image(), **palette([t[:100] for t in tables], 8, first=20))
    held = np.clip(soft_image() - 20.0, 0, 99).astype(int)
    assert np.array_equal(shown, luminance(tables, held, 255))


def test_a_palette_with_a_table_missing_is_refused(picture):
    elements = palette([RED, GREEN, BLUE], 16)
    for part in ("Descriptor", "Data"):
        one_less = {k: v for k, v in elements.items() if k != f"GreenPaletteColorLookupTable{part}"}
        with pytest.raises(UserError, match=r"picture|LUT has no descriptor"):
            picture(soft_image(), **one_less)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_segmented_palette(tmp_path, bits):
    """C.7.9.2: entries one by one, a ramp, and both once more by their offset in bytes."""
    full = 2**bits - 1
    codes = [0, 2, 0, full // 2, 1, 126, full]  # the first 128 entries
    size = bits // 8
    repeat = [2, 2, 0, 0, 0, 0] if bits == 8 else [2, 2, 0, 0]
    entries = [0, full // 2, *np.rint(np.linspace(full // 2, full, 127)[1:])] * 2
    item = palette([RED, GREEN, BLUE], bits)
    for name in ("Red", "Green", "Blue"):
        del item[f"{name}PaletteColorLookupTableData"]
        item[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        item[f"Segmented{name}PaletteColorLookupTableData"] = np.array(
            codes + repeat, f"<u{size}"
        ).tobytes() + b"\0" * (len(codes + repeat) * size % 2)
    path = write_dicom(tmp_path / "a.dcm", soft_image(), **item)
    expected = as_8_bits(np.array(entries)[soft_image()] / full)
    assert np.array_equal(read_radiograph(path).pixels, expected)
    dataset = pydicom.dcmread(path)
    for name in ("Red", "Green", "Blue"):  # without the repetition, pydicom expands it too
        dataset[f"Segmented{name}PaletteColorLookupTableData"].value = np.array(
            codes * 2, f"<u{size}"
        ).tobytes()
    dataset.save_as(path)
    oracle = pydicom.pixels.apply_color_lut(soft_image(), dataset)[..., 0] / full
    assert np.array_equal(read_radiograph(path).pixels, as_8_bits(oracle))
