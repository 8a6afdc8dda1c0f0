"""DICOM to pictures, by the standard."""

import io
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, Sequence, uid

from common.imaging.dicom import read_header, read_radiograph
from tests.helpers.fixtures import jpeg_bytes, real_data, soft_image, write_dicom

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
BITS_12 = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)


def lut(first, bits, entries, vr="US"):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.add_new("LUTData", vr, entries if vr == "US" else np.array(entries, "<u2").tobytes())
    return Sequence([item])


@pytest.fixture
def picture(tmp_path):
    return lambda pixels, **options: (
        read_radiograph(write_dicom(tmp_path / "image.dcm", pixels, **options)).pixels
    )


# ---- Grey, step by step


def test_8_bit_pixels_pass_unchanged(picture):
    low_contrast = soft_image() // 4 + 30
    assert np.array_equal(picture(low_contrast), low_contrast)


def test_8_of_16_bits_pass_unchanged(picture):
    assert np.array_equal(picture(soft_image().astype(np.uint16), bits=8), soft_image())


def test_8_bits_signed_are_shown_from_their_least(picture):
    signed = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    assert np.array_equal(picture(signed), np.arange(256).reshape(16, 16))


def test_more_bits_without_a_window_run_from_least_to_greatest(picture):
    expected = np.rint((BITS_12 // 2) / 2047 * 255)
    assert np.array_equal(picture(BITS_12 // 2 + 1000, bits=12), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32])
def test_other_depths(picture, dtype):
    pixels = np.array([[-5, 0], [5, 15]]) * (1 if dtype == np.int16 else 10**8)
    pixels = (pixels - (0 if dtype != np.uint32 else pixels.min())).astype(dtype)
    assert picture(pixels).tolist() == [[0, 64], [128, 255]]


def test_the_first_window_by_the_linear_formula(picture):
    center, width = 1000, 401  # PS3.3 C.11.2.1.2.1
    expected = (BITS_12.astype(float) - (center - 0.5)) / (width - 1) + 0.5
    result = picture(BITS_12, bits=12, WindowCenter=[center, 9], WindowWidth=[width, 9])
    assert np.array_equal(result, np.rint(np.clip(expected, 0, 1) * 255))


def test_linear_exact(picture):
    expected = (BITS_12.astype(float) - 1000) / 400 + 0.5  # C.11.2.1.3.2
    window = {"WindowCenter": 1000, "WindowWidth": 400, "VOILUTFunction": "LINEAR_EXACT"}
    result = picture(BITS_12, bits=12, **window)
    assert np.array_equal(result, np.rint(np.clip(expected, 0, 1) * 255))


def test_sigmoid(picture):
    expected = 1 / (1 + np.exp(-4 * (BITS_12 - 1000.0) / 400))  # C.11.2.1.3.1
    window = {"WindowCenter": 1000, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}
    assert np.array_equal(picture(BITS_12, bits=12, **window), np.rint(expected * 255))


def test_a_window_is_of_rescaled_values(picture):
    options = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    rescaled = picture(BITS_12, bits=12, WindowCenter=1000, WindowWidth=401, **options)
    expected = (BITS_12 * 2.0 - 1000 - 999.5) / 400 + 0.5
    assert np.array_equal(rescaled, np.rint(np.clip(expected, 0, 1) * 255))


def test_a_negative_slope_turns_the_picture_with_a_window_and_without(picture):
    options = {"bits": 12, "RescaleSlope": -1, "RescaleIntercept": 4095}
    expected = np.rint((4095 - BITS_12.astype(float)) / 4095 * 255)
    assert np.array_equal(picture(BITS_12, **options), expected)
    windowed = picture(BITS_12, WindowCenter=2048, WindowWidth=4096, **options)
    assert np.array_equal(windowed, expected)
    eight = picture(soft_image(), RescaleSlope=-1, RescaleIntercept=255)
    assert np.array_equal(eight, 255 - soft_image())


def test_a_width_of_one_is_a_threshold(picture):
    result = picture(BITS_12, bits=12, WindowCenter=2000, WindowWidth=1)
    assert np.array_equal(result, np.where(BITS_12 > 1999, 255, 0))


def test_a_window_without_values_is_none(picture):
    assert np.array_equal(picture(soft_image(), WindowCenter="", WindowWidth=""), soft_image())


def test_monochrome1_is_inverted_last(picture):
    window = {"WindowCenter": 1000, "WindowWidth": 401, "bits": 12}
    assert np.array_equal(
        picture(BITS_12, photometric="MONOCHROME1", **window), 255 - picture(BITS_12, **window)
    )


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_a_modality_lut_of_12_bits_before_the_window(picture, vr):
    entries = [(4095 - i) // 2 for i in range(4000)]  # from 50 on; its ends are held
    expected = np.array(entries)[np.clip(BITS_12.astype(int) - 50, 0, 3999)]
    options = {"ModalityLUTSequence": lut(50, 12, entries, vr), "ModalityLUTType": "OD"}
    result = picture(BITS_12, bits=12, WindowCenter=1000, WindowWidth=401, **options)
    ramp = np.clip((expected - 999.5) / 400 + 0.5, 0, 1)
    assert np.array_equal(result, np.rint(ramp * 255))


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_a_voi_lut_is_used_before_a_window(picture, bits):
    entries = [i * (2**bits - 1) // 2999 for i in range(3000)]
    expected = np.array(entries)[np.clip(BITS_12.astype(int) - 100, 0, 2999)]
    options = {"VOILUTSequence": lut(100, bits, entries), "WindowCenter": 9, "WindowWidth": 9}
    result = picture(BITS_12, bits=12, **options)
    assert np.array_equal(result, np.rint(expected / (2**bits - 1) * 255))


def test_padding_counts_for_no_range_and_is_dark(picture):
    pixels = BITS_12.astype(np.int16)
    pixels[:5] = -2000
    expected = np.rint((pixels - 320.0) / (4095 - 320) * 255)
    expected[:5] = 0
    assert np.array_equal(picture(pixels, PixelPaddingValue=-2000), expected)
    inverted = 255 - expected
    inverted[:5] = 0
    result = picture(pixels, photometric="MONOCHROME1", PixelPaddingValue=-2000)
    assert np.array_equal(result, inverted)


def test_a_range_of_padding(picture):
    pixels = BITS_12.copy()
    result = picture(pixels, bits=12, PixelPaddingValue=0, PixelPaddingRangeLimit=95)
    assert (result[pixels <= 95] == 0).all() and result[pixels == 4095] == 255
    assert np.array_equal(result[pixels > 95], np.rint((pixels[pixels > 95] - 96) / 3999 * 255))


def test_one_value_is_dark_and_all_padding_too(picture):
    assert not picture(np.full((4, 4), 700, np.uint16)).any()
    assert not picture(np.full((4, 4), 700, np.uint16), photometric="MONOCHROME1").any()
    assert not picture(np.full((4, 4), 7, np.uint16), PixelPaddingValue=7).any()


def test_bits_above_those_stored_are_left_out(picture):
    noisy = BITS_12 | 0xA000
    assert np.array_equal(picture(noisy, bits=12), picture(BITS_12, bits=12))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    center=st.floats(-3000, 6000),
    width=st.floats(1, 9000),
    slope=st.floats(0.05, 20),
    intercept=st.floats(-2000, 2000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_a_window_keeps_the_order_of_values(picture, center, width, slope, intercept, function):
    values = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)
    result = picture(
        values,
        bits=12,
        WindowCenter=f"{center:.6g}",
        WindowWidth=f"{max(width, 1):.6g}",
        RescaleSlope=f"{slope:.6g}",
        RescaleIntercept=f"{intercept:.6g}",
        VOILUTFunction=function,
    )
    assert (np.diff(result.ravel().astype(int)) >= 0).all()


# ---- Colour


def test_rgb_becomes_luminance(picture):
    rgb = np.stack([soft_image(), soft_image()[::-1], 255 - soft_image()], axis=-1)
    expected = rgb @ [0.299, 0.587, 0.114]
    assert np.abs(picture(rgb, photometric="RGB") - expected).max() <= 0.51


def test_16_bit_rgb_and_bundled_colour_agree():
    low = read_radiograph(BUNDLED / "SC_rgb_rle.dcm").pixels
    for name in ("SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_dcmtk_+eb+cr.dcm"):
        assert np.abs(read_radiograph(BUNDLED / name).pixels.astype(int) - low).max() <= 4, name


def test_a_palette_becomes_luminance():
    path = BUNDLED / "examples_palette.dcm"
    dataset = pydicom.dcmread(path)
    rgb = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset)[..., :3] / 65535
    expected = rgb @ [0.299, 0.587, 0.114] * 255
    assert np.abs(read_radiograph(path).pixels - expected).max() <= 0.51


# ---- Transfer syntaxes


SAME_PICTURE = [
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_padded.dcm",
]


@pytest.mark.parametrize("name", SAME_PICTURE)
def test_transfer_syntaxes_give_the_same_picture(name):
    expected = read_radiograph(BUNDLED / "MR_small.dcm").pixels
    assert np.array_equal(read_radiograph(BUNDLED / name).pixels, expected)


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_a_bare_dataset_is_read(tmp_path, syntax):
    path = write_dicom(tmp_path / "bare.dcm", BITS_12, syntax, bits=12, bare=True)
    assert path.read_bytes()[128:132] != b"DICM"
    with_meta = write_dicom(tmp_path / "whole.dcm", BITS_12, bits=12)
    assert np.array_equal(read_radiograph(path).pixels, read_radiograph(with_meta).pixels)
    assert read_header(path) == read_header(with_meta)


# ---- JPEG bytes


def test_a_jpeg_is_handed_on_as_it_is(tmp_path):
    jpeg = jpeg_bytes(soft_image(), comment=b"Recognisable Person", exif=Image.Exif())
    radiograph = read_radiograph(write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=jpeg))
    oracle = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    assert np.array_equal(radiograph.pixels, oracle)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(radiograph.jpeg))), oracle)
    assert b"Recognisable" in jpeg and b"Recognisable" not in radiograph.jpeg


def test_text_behind_a_jpeg_is_not_handed_on(tmp_path):
    jpeg = jpeg_bytes(soft_image())
    path = write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=jpeg + b"Recognisable")
    assert read_radiograph(path).jpeg.endswith(b"\xff\xd9")


def test_a_jpeg_with_several_scans_or_restarts(tmp_path):
    for options in ({"progressive": True}, {"restart_marker_blocks": 3}, {"optimize": True}):
        jpeg = jpeg_bytes(soft_image(), **options)
        radiograph = read_radiograph(write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=jpeg))
        assert np.array_equal(radiograph.pixels, np.asarray(Image.open(io.BytesIO(jpeg))))
        assert radiograph.jpeg is not None


@pytest.mark.parametrize(
    ("elements", "same"),
    [
        ({}, True),
        ({"RescaleSlope": 1, "RescaleIntercept": 0}, True),
        ({"WindowCenter": 128, "WindowWidth": 256}, True),
        ({"WindowCenter": 100, "WindowWidth": 100}, False),
        ({"RescaleSlope": -1, "RescaleIntercept": 255}, False),
        ({"photometric": "MONOCHROME1"}, False),
        ({"PixelPaddingValue": 255}, False),
    ],
)
def test_jpeg_bytes_only_if_they_are_the_picture(tmp_path, elements, same):
    jpeg = jpeg_bytes(soft_image())
    path = write_dicom(tmp_path / "a.dcm", soft_image(), jpeg=jpeg, **elements)
    assert (read_radiograph(path).jpeg is not None) == same


def test_uncompressed_has_no_jpeg_bytes(tmp_path):
    assert read_radiograph(write_dicom(tmp_path / "a.dcm", soft_image())).jpeg is None


# ---- Headers


@pytest.mark.parametrize(
    ("age", "years"),
    [("062Y", 62), ("62", 62), ("018M", 1.5), ("003W", 21 / 365.25), ("005D", 5 / 365.25),
     ("0Y", 0), ("089Y", 89), ("090Y", 90), ("104Y", 90), ("121Y", math.nan),
     ("148", math.nan), ("", math.nan), ("old", math.nan), ("-12", math.nan), ("12 Y", math.nan)],
)  # fmt: skip
def test_ages(tmp_path, age, years):
    path = write_dicom(tmp_path / "a.dcm", soft_image(), PatientAge=age)
    assert read_header(path).age_years == pytest.approx(years, nan_ok=True)


@pytest.mark.parametrize(
    ("elements", "view"),
    [({"ViewPosition": "PA"}, "PA"), ({"ViewPosition": "ap "}, "AP"), ({}, ""),
     ({"SeriesDescription": "view: PA"}, "PA"), ({"SeriesDescription": "review: PA"}, ""),
     ({"ViewPosition": "JOHN", "SeriesDescription": "chest view:AP"}, "AP"),
     ({"SeriesDescription": "view: SMITH"}, "")],
)  # fmt: skip
def test_views(tmp_path, elements, view):
    assert read_header(write_dicom(tmp_path / "a.dcm", soft_image(), **elements)).view == view


def test_sex_is_f_or_m_or_nothing(tmp_path):
    path = tmp_path / "a.dcm"
    sexes = [
        read_header(write_dicom(path, soft_image(), PatientSex=sex)).sex
        for sex in ("F", "M", "O", "", None)
        if sex is not None
    ]
    assert sexes == ["F", "M", "", ""]
    assert read_header(write_dicom(path, soft_image())).sex == ""


@pytest.mark.parametrize(
    ("elements", "spacing_mm"),
    [({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3)), ({"ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
     ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.1, 0.1]}, (0.2, 0.2)),
     ({"PixelSpacing": [0, 0.2], "ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
     ({"PixelSpacing": 0.2}, None), ({}, None)],
)  # fmt: skip
def test_spacing(tmp_path, elements, spacing_mm):
    path = write_dicom(tmp_path / "a.dcm", soft_image(), **elements)
    assert read_header(path).spacing_mm == read_radiograph(path).spacing_mm == spacing_mm


# ---- Real files


@pytest.mark.parametrize("name", ["rsna-pneumonia", "kermany"])
def test_real_files_are_as_pydicom_reads_them(name):
    for path in sorted((real_data(name) / "stage_2_train_images").iterdir())[:20]:
        radiograph = read_radiograph(path)
        assert np.array_equal(radiograph.pixels, pydicom.dcmread(path).pixel_array)
        assert np.array_equal(
            np.asarray(Image.open(io.BytesIO(radiograph.jpeg))), radiograph.pixels
        )


def test_real_files_of_every_kind():
    kinds = set()
    for path in sorted((real_data("heart") / "stage_2_train_images").iterdir()):
        dataset = pydicom.dcmread(path)
        kind = (dataset.PhotometricInterpretation, int(dataset.BitsStored))
        if kind in kinds:
            continue
        kinds.add(kind)
        stored = dataset.pixel_array.astype(float)
        expected = {
            ("MONOCHROME2", 8): stored,
            ("MONOCHROME1", 8): 255 - stored,
            ("MONOCHROME2", 12): np.rint(stored / 4095 * 255),
        }[kind]
        assert np.array_equal(read_radiograph(path).pixels, expected)
    assert len(kinds) == 3


@pytest.mark.parametrize("place", ["PerFrame", "Shared"])
def test_the_window_and_spacing_of_a_functional_group(tmp_path, place):
    stored = soft_image().astype(np.uint16) * 16
    group, window, measures = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 1000.5, 501
    measures.PixelSpacing = [0.2, 0.3]
    group.FrameVOILUTSequence, group.PixelMeasuresSequence = [window], [measures]
    path = write_dicom(
        tmp_path / "a.dcm", stored, NumberOfFrames=1,
        **{f"{place}FunctionalGroupsSequence": [group]},
    )  # fmt: skip
    film = read_radiograph(path)
    expected = np.clip((stored - 750.0) / 500, 0, 1) * 255
    assert np.abs(film.pixels - expected).max() <= 0.51
    assert film.spacing_mm == read_header(path).spacing_mm == (0.2, 0.3)
