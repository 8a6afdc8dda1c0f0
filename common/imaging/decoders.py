"""Pixel data to stored values: one decoder for each transfer syntax, whatever else is installed.

JPEG Baseline, JPEG 2000 and HTJ2K are decoded by Pillow, RLE by pydicom, and by imagecodecs all
other JPEG (libjpeg-turbo) and JPEG-LS (CharLS), as a plugin of pydicom. Not used are imagecodecs'
``ljpeg_decode`` and ``jpegsof3_decode``, which damaged frames make end the process, and its
``htj2k_decode``, which swallows OpenJPH's errors and returns what was in memory.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import base, pillow

from common.base.worker import limited
from common.imaging.frames import CODESTREAM, JPEG_LS, FrameHeader, bare_jpeg, frame_header

# Processor time for a frame, of which a sound one of a megapixel takes 0.02 s, and a damaged one of
# JPEG-LS was seen to take 32 s.
_LIMIT_S, _LIMIT_S_A_PIXEL = 2.0, 1e-7

_ADDED = {
    **dict.fromkeys((*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes), "imagecodecs"),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), "pillow"),
}
_WITHOUT_LOSS = {
    uid.JPEG2000: uid.JPEG2000Lossless,
    uid.HTJ2K: uid.HTJ2KLossless,
    uid.JPEGLSNearLossless: uid.JPEGLSLossless,
}

PLUGINS = {
    **_ADDED,
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), "pillow"),
    uid.RLELossless: "pydicom",
}
"""What decodes a transfer syntax, of those that are compressed and read."""


def is_read(syntax: uid.UID) -> bool:
    """Whether there is a decoder for a transfer syntax."""
    return not syntax.is_encapsulated or syntax in PLUGINS


def stored_pixels(dataset: Dataset, frame: bytes) -> np.ndarray:
    """The words of a film, before its HighBit and BitsStored are applied.

    Args:
        dataset: As from `common.imaging.dicom_file.check`. Its PhotometricInterpretation becomes
            that of the result: "RGB" or "YBR_FULL" for colour. What a codestream of JPEG 2000
            or JPEG-LS says of its sign, order and loss takes the place of what the dataset says.
        frame: Of compressed pixels, as from `check`.

    Returns:
        ``(rows, columns)`` or ``(rows, columns, 3)`` integers.

    Raises:
        Exception: Its pixels are damaged.
    """
    syntax, header = dataset.file_meta.TransferSyntaxUID, frame_header(frame)
    colours = _colours(header, dataset.PhotometricInterpretation)
    if syntax == uid.JPEGBaseline8Bit and header and header.is_8_bit_dct:
        pixels = _by_pillow(frame, dataset.SamplesPerPixel, colours)
    else:
        if frame:
            # A JP2 file around a codestream may name other colours, which Pillow would follow.
            start = frame.find(CODESTREAM) if header and not header.process else 0
            if header and header.process == 0:
                dataset.PlanarConfiguration = 0
            dataset.PixelData = encapsulate([frame[start:]])
        pixels, _ = base.get_decoder(syntax).as_array(
            dataset,
            raw=True,
            decoding_plugin=PLUGINS.get(syntax, ""),
            correct_unused_bits=False,  # type: ignore[arg-type]  # pydicom types it otherwise
            allow_excess_frames=False,  # type: ignore[arg-type]  # likewise
        )
    if dataset.SamplesPerPixel == 3:
        dataset.PhotometricInterpretation = colours
    if header and header.is_reversible:
        dataset.file_meta.TransferSyntaxUID = _WITHOUT_LOSS.get(syntax, syntax)
    if header and header.is_signed and not dataset.PixelRepresentation:
        pixels = _with_sign(pixels, header, dataset)
    return pixels


def _with_sign(pixels: np.ndarray, header: FrameHeader, dataset: Dataset) -> np.ndarray:
    """The values of a signed codestream that the dataset calls unsigned.

    Pillow adds half the range to them. Where none is below 0, both can be meant.
    """
    values = pixels.astype(np.int32) - (1 << (header.bits - 1))
    if values.min() >= 0:
        return values.astype(pixels.dtype)
    dataset.PixelRepresentation = 1
    dataset.BitsStored, dataset.HighBit = header.bits, header.bits - 1
    return values.astype(f"i{pixels.itemsize}")


def _colours(header: FrameHeader | None, label: str) -> str:
    """What three decoded samples are: by the codestream, else by the label of the DICOM header.

    The component transforms YBR_ICT and YBR_RCT are undone by whatever decodes JPEG 2000.
    """
    if header and header.colours:
        return header.colours
    is_jpeg = header is not None and header.process != 0
    return "YBR_FULL" if label.startswith("YBR_FULL") or (is_jpeg and label != "RGB") else "RGB"


def _by_pillow(frame: bytes, samples: int, colours: str) -> np.ndarray:
    """Decode 8-bit JPEG.

    By Pillow, whatever else is installed: pylibjpeg differs by one in 3 % of the pixels;
    TensorFlow's decoder (dct_method="INTEGER_ACCURATE") agrees with Pillow.
    """
    if samples == 1:
        return np.asarray(Image.open(BytesIO(frame), formats=("JPEG",)))
    # Adobe's marker tells Pillow the colours; YCbCr stays as it is, as its Y is the luminance.
    jpeg, transform = bare_jpeg(frame), bytes([colours != "RGB"])
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + transform
    image = Image.open(BytesIO(jpeg[:2] + marker + jpeg[2:]), formats=("JPEG",))
    if colours != "RGB":
        image.draft("YCbCr", image.size)
    return np.asarray(image)


# ---- The plugin; the names are those that pydicom asks for

DECODER_DEPENDENCIES = {syntax: (name,) for syntax, name in _ADDED.items()}


def is_available(syntax: str) -> bool:
    """Whether the plugin decodes a transfer syntax."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(frame: bytes, runner: base.DecodeRunner) -> bytes:
    """Decode JPEG, JPEG-LS or HTJ2K; what libjpeg and CharLS would fill in is refused before.

    Raises:
        ValueError: It is none of these, or has no end.
        Exception: As imagecodecs raises.
    """
    header = frame_header(frame)
    if header is None:
        raise ValueError("no frame header")
    if header.process == 0:
        # pydicom has this for JPEG 2000 alone; Pillow's OpenJPEG decodes both.
        return pillow._decode_frame(frame, runner)
    import imagecodecs  # not by those who read no such film

    with limited(_LIMIT_S + _LIMIT_S_A_PIXEL * header.rows * header.columns):
        if header.process == JPEG_LS:
            if b"\xff\xd9" not in frame:
                raise ValueError("no end")
            pixels = imagecodecs.jpegls_decode(frame)
        elif runner.samples_per_pixel == 1:
            pixels = imagecodecs.jpeg8_decode(bare_jpeg(frame))
        else:
            colours = _colours(header, runner.photometric_interpretation)
            space = "RGB" if colours == "RGB" else "YCBCR"  # as is, whatever libjpeg makes of it
            pixels = imagecodecs.jpeg8_decode(
                bare_jpeg(frame), colorspace=space, outcolorspace=space
            )
    if runner.samples_per_pixel == 3:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.itemsize)
    return bytes(pixels.tobytes())


for _syntax, _name in _ADDED.items():
    _decoder = base.get_decoder(_syntax)
    if _name not in _decoder.available_plugins:
        _decoder.add_plugin(_name, (__name__, "decode_frame"))
