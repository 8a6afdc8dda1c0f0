"""Every transfer syntax, and what a codestream says of its colours."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from common.base.errors import UserError
from common.imaging.dicom import read_radiograph
from common.imaging.frames import bare_jpeg
from tests.helpers.dicom_frames import TOLERANCE, WRITTEN, frame, write_film
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom

SYNTAXES = pytest.mark.parametrize("syntax", WRITTEN, ids=lambda syntax: syntax.name)
COLOUR = np.stack([soft_image(), soft_image()[::-1], 255 - soft_image() // 2], axis=-1)
LUMINANCE = COLOUR @ [0.299, 0.587, 0.114]


def ramp(values):
    return (values - values.min()) / (values.max() - values.min()) * 255.0


@SYNTAXES
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True)])
def test_a_syntax_gives_the_values_that_were_written(tmp_path, syntax, bits, signed):
    values = soft_image().astype(np.int64) * ((1 << bits) - 1) // 255
    stored = (values - (1 << (bits - 1)) * signed).astype(
        np.uint8 if bits == 8 else np.int16 if signed else np.uint16
    )
    if signed and syntax in TOLERANCE:
        return  # a code with loss turns two's complement over
    path = write_film(tmp_path / "a.dcm", syntax, stored, bits)
    if path is None:
        return
    expected = soft_image() * 1.0 if bits == 8 else ramp(values)
    wrong = np.abs(read_radiograph(path).pixels - expected).max()
    assert wrong <= TOLERANCE.get(syntax, 0) + (0.51 if bits > 8 else 0)


@SYNTAXES
def test_a_syntax_gives_its_colours_luminance(tmp_path, syntax):
    path = write_film(tmp_path / "a.dcm", syntax, COLOUR, 8)
    assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= TOLERANCE.get(syntax, 0) + 0.51


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_of_jpeg_lossless(tmp_path, predictor):
    """Held against another decoder of the same frame, which is used nowhere else."""
    stored = soft_image().astype(np.uint16) * 257
    content = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=16)
    assert np.array_equal(imagecodecs.jpegsof3_decode(content), stored)
    path = write_dicom(
        tmp_path / "a.dcm", stored, uid.JPEGLossless, PixelData=encapsulate([content])
    )
    assert np.array_equal(read_radiograph(path).pixels, np.rint(ramp(stored)))


def test_htj2k_is_as_openjph_decodes_it(tmp_path):
    """Which wrote it; films are decoded by OpenJPEG."""
    stored = soft_image().astype(np.uint16) * 16
    lossy = imagecodecs.htj2k_encode(stored, level=0.001, reversible=False)
    path = write_dicom(tmp_path / "a.dcm", stored, uid.HTJ2K, PixelData=encapsulate([lossy]))
    expected = ramp(imagecodecs.htj2k_decode(lossy).astype(float))
    assert np.abs(read_radiograph(path).pixels - expected).max() <= 1.01


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.JPEGLSLossless])
def test_a_frame_with_zeros_in_its_middle_is_refused(tmp_path, syntax):
    """A decoder that swallows its errors would return what happens to be in memory."""
    content = frame(syntax, soft_image().astype(np.uint16) * 16, 12)
    data = encapsulate([content[:300] + b"\0" * 200 + content[500:]])
    path = write_dicom(tmp_path / "a.dcm", soft_image().astype(np.uint16), syntax, PixelData=data)
    with pytest.raises(UserError, match="can't be decoded"):
        read_radiograph(path)


def test_a_lossless_frame_under_the_label_of_baseline_is_read_and_not_handed_on(tmp_path):
    content = frame(uid.JPEGLosslessSV1, soft_image(), 8)
    path = write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=content)
    radiograph = read_radiograph(path)
    assert np.array_equal(radiograph.pixels, soft_image()) and radiograph.jpeg is None


UNREAD = [
    *(uid.JPEG2000MCLossless, uid.JPEG2000MC, uid.MPEG2MPML, uid.MPEG4HP41, uid.HEVCMP51),
    *(uid.UID("1.2.840.10008.1.2.4.204"), uid.UID("1.2.840.10008.1.2.7.1")),
]


@pytest.mark.parametrize("syntax", UNREAD, ids=lambda syntax: syntax.name)
def test_what_nothing_decodes_is_refused_by_name(tmp_path, syntax):
    path = write_dicom(
        tmp_path / "a.dcm", soft_image(), syntax, PixelData=encapsulate([b"\0" * 99])
    )
    with pytest.raises(UserError, match="nothing here decodes") as caught:
        read_radiograph(path)
    assert syntax.name in str(caught.value)


@pytest.mark.parametrize("syntax", [s for s in WRITTEN if s.is_encapsulated], ids=lambda s: s.name)
def test_a_frame_that_is_cut_short_or_of_another_size_is_refused(tmp_path, syntax):
    stored = soft_image()
    path = write_film(tmp_path / "a.dcm", syntax, stored, 8, Rows=20)
    if syntax != uid.RLELossless:  # its header has no size, and its runs must fill the rows
        with pytest.raises(UserError, match="declares 20 x 56 pixels, the image in it has 40 x 56"):
            read_radiograph(path)
        content = frame(syntax, stored, 8)
        for end in (len(content) // 2, len(content) - 2):
            cut = encapsulate([content[:end]])
            path = write_dicom(tmp_path / "a.dcm", stored, syntax, PixelData=cut)
            if "2000" in syntax.name and end > len(content) // 2:
                continue  # its last two bytes are an end, and no pixel
            with pytest.raises(UserError, match="can't be decoded"):
                read_radiograph(path)


def test_more_bits_than_a_pixel_has_room_for_are_refused(tmp_path):
    content = frame(uid.JPEGLosslessSV1, soft_image().astype(np.uint16) * 16, 12)
    path = write_dicom(
        tmp_path / "a.dcm", soft_image(), uid.JPEGLosslessSV1, PixelData=encapsulate([content])
    )
    with pytest.raises(UserError, match="declares 8 bits, the image in it has 12"):
        read_radiograph(path)


# ---- Colours: the codestream's own word before the label


def colour_jpeg(space, ids=None, adobe=None, jfif=False):
    """A JPEG that holds ``space``, and says of it what is asked for and no more."""
    spaces = {"colorspace": "RGB", "outcolorspace": space}
    content = bare_jpeg(imagecodecs.jpeg8_encode(COLOUR, level=98, **spaces))
    marker = b""
    if jfif:
        marker = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    if adobe is not None:
        marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([adobe])
    made = bytearray(content[:2] + marker + content[2:])
    frame_at = max(made.find(b"\xff\xc0"), made.find(b"\xff\xc1"))
    scan_at = made.find(b"\xff\xda")
    for number, name in enumerate(ids or b"\1\2\3"):
        made[frame_at + 10 + 3 * number] = made[scan_at + 5 + 2 * number] = name
    return bytes(made)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    ("space", "told"),
    [
        ("YCBCR", {"jfif": True}),
        ("YCBCR", {"adobe": 1}),
        ("RGB", {"adobe": 0}),
        ("RGB", {"ids": b"RGB"}),
        ("RGB", {"ids": b"rgb"}),
    ],
)
@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
def test_what_a_jpeg_says_of_its_colours_counts_before_the_label(
    tmp_path, syntax, space, told, label
):
    data = encapsulate([colour_jpeg(space, **told)])
    path = write_dicom(tmp_path / "a.dcm", COLOUR, syntax, label, PixelData=data)
    assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 4


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
@pytest.mark.parametrize(("space", "label"), [("YCBCR", "YBR_FULL_422"), ("RGB", "RGB")])
def test_the_label_counts_where_a_jpeg_says_nothing(tmp_path, syntax, space, label):
    data = encapsulate([colour_jpeg(space)])
    path = write_dicom(tmp_path / "a.dcm", COLOUR, syntax, label, PixelData=data)
    assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 4


def test_coarser_chroma_is_ycbcr_whatever_the_label(tmp_path):
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "JPEG", quality=98, subsampling=2)
    path = write_dicom(
        tmp_path / "a.dcm", COLOUR, photometric="RGB", jpeg=bare_jpeg(file.getvalue())
    )
    assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 4


def test_a_component_transform_is_rgb_whatever_the_label(tmp_path):
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
    for label in ("YBR_RCT", "RGB", "YBR_FULL"):
        data = encapsulate([file.getvalue()])
        path = write_dicom(tmp_path / "a.dcm", COLOUR, uid.JPEG2000Lossless, label, PixelData=data)
        assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 0.51


def test_y_of_ycbcr_is_the_luminance(tmp_path):
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    stored = np.clip(np.rint(COLOUR @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
    for syntax in (uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless):
        path = write_film(tmp_path / "a.dcm", syntax, stored, 8, photometric="YBR_FULL")
        assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 1


def test_a_grey_film_as_ycbcr_under_the_label_rgb(tmp_path):
    middle = np.full_like(soft_image(), 128)
    stored = np.stack([soft_image(), middle, middle], axis=-1)
    assert np.array_equal(
        read_radiograph(write_dicom(tmp_path / "a.dcm", stored, photometric="RGB")).pixels,
        soft_image(),
    )
    grey = jpeg_bytes(soft_image())
    with pytest.raises(UserError, match="colour and grey contradict"):
        read_radiograph(write_dicom(tmp_path / "b.dcm", stored, photometric="RGB", jpeg=grey))


def j2k(values, bits=16):
    """A reversible codestream, signed where the values' type is."""
    return imagecodecs.jpeg2k_encode(
        values, level=0, reversible=True, codecformat="j2k", bitspersample=bits
    )


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.HTJ2KLossless])
@pytest.mark.parametrize("least", [0, -900])
def test_a_signed_codestream_under_an_unsigned_header(tmp_path, syntax, least):
    values = soft_image().astype(np.int16) * 16 + least
    content = j2k(values) if syntax == uid.JPEG2000Lossless else imagecodecs.htj2k_encode(values)
    path = write_dicom(
        tmp_path / "a.dcm", values.astype(np.uint16), syntax, PixelData=encapsulate([content]),
        WindowCenter=2048.5 + least, WindowWidth=4081,
    )  # fmt: skip
    expected = np.clip((values - least - 8) / 4080, 0, 1) * 255
    assert np.abs(read_radiograph(path).pixels - expected).max() <= 0.51


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless])
def test_a_codestreams_own_order_of_colours_counts(tmp_path, syntax):
    is_plain = syntax != uid.HTJ2KLossless
    content = j2k(COLOUR, 8) if is_plain else imagecodecs.htj2k_encode(COLOUR)
    path = write_dicom(
        tmp_path / "a.dcm", COLOUR, syntax, "YBR_RCT", PixelData=encapsulate([content]),
        PlanarConfiguration=1,
    )  # fmt: skip
    assert np.abs(read_radiograph(path).pixels - LUMINANCE).max() <= 0.51


LOSSLESS_BY_CONTENT = {
    uid.JPEG2000Lossless: j2k,
    uid.JPEG2000: j2k,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_encode,  # with NEAR 0
}


@pytest.mark.parametrize("syntax", LOSSLESS_BY_CONTENT)
def test_bits_above_are_no_pixels_where_a_codestream_lost_none(tmp_path, syntax):
    values = soft_image().astype(np.uint16) * 16
    overlay = values | (np.arange(values.size).reshape(values.shape) % 50 == 0) << 12
    padded = values.copy()
    padded[:4] = 65535
    for stored, padding in ((overlay.astype(np.uint16), None), (padded, 65535)):
        more = {} if padding is None else {"PixelPaddingValue": padding}
        more["PixelData"] = encapsulate([LOSSLESS_BY_CONTENT[syntax](stored)])
        path = write_dicom(tmp_path / "a.dcm", stored, syntax, bits=12, **more)
        seen = values if padding is None else values[4:]
        expected = ramp(seen) if padding is None else np.vstack([values[:4] * 0, ramp(seen)])
        assert np.abs(read_radiograph(path).pixels - expected).max() <= 0.51


@pytest.mark.parametrize(
    "header",
    [
        {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "WindowCenter": 2048,
         "WindowWidth": 4096, "RescaleSlope": 2, "RescaleIntercept": -7},
        {"PixelRepresentation": 1},
    ],
)  # fmt: skip
def test_an_8_bit_jpeg_is_believed_before_the_header_of_a_deeper_film(tmp_path, header):
    content = jpeg_bytes(soft_image())
    path = write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=content, **header)
    film = read_radiograph(path)
    assert np.array_equal(film.pixels, np.asarray(Image.open(io.BytesIO(content))))
    assert film.jpeg is not None
