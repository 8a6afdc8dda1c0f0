"""Text is planted wherever a DICOM or NIfTI file can identify someone, and found nowhere after."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import re
import shutil
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tensorflow as tf
from PIL import Image
from pydicom import Dataset, datadict

from common.base.errors import UserError
from common.datasets.rsna import index_heart, index_pneumonia
from common.records.stored_images import stored_film
from tests.helpers.fixtures import quiet
from tests.helpers.scripts import CHEST, Whole, run

ATRIUM = "atrium_segmentation"
TEXT, DAY, TIME = "PLANTED", "19170305", "030405.190817"
NEEDLES = (b"planted", b"19170305", b"1917-03-05", b"190817")

USED = {"PatientSex", "PatientAge"}
"""What a baseline is made of; nothing but "F", "M" and a number of years is taken from them."""

ELEMENTS = [
    (int(line.split()[0], 16), line.split()[1])
    for line in Path(__file__)
    .with_name("helpers")
    .joinpath("identifying_elements.txt")
    .read_text()
    .splitlines()
    # Group 0 is of messages, not of files.
    if not line.startswith(("#", "0000"))
]


def planted_value(vr, number):
    """A value of a representation that can be told again; None where it can't hold one."""
    return {
        "SQ": [patient()], "PN": f"{TEXT}^{number:X}", "DA": DAY, "TM": TIME, "DT": DAY + "010203",
        "UI": f"1.2.826.0.{DAY}.{number}", "DS": DAY, "IS": DAY, "OB": TEXT.encode() + b" ",
        "UN": TEXT.encode() + b" ", "US": None, "AS": None, "UR": f"http://{TEXT}.example/{number}",
    }.get(vr, f"{TEXT}{number:X}")  # fmt: skip


def patient():
    item = Dataset()
    item.PatientName, item.PatientBirthDate = f"{TEXT}^WITHIN", DAY
    return item


@quiet()
def plant(path):
    """Plant text in every identifying element of a film; how many took it."""
    film, count = pydicom.dcmread(path), 0
    for number, (tag, keyword) in enumerate(ELEMENTS):
        # pydicom's dictionary may be older than the standard's table.
        vr = datadict.dictionary_VR(tag) if datadict.dictionary_has_tag(tag) else "LO"
        value = planted_value(vr, number)
        if value is not None and keyword not in USED:
            (film.file_meta if tag >> 16 == 2 else film).add_new(tag, vr, value)
            count += 1
    film.PatientID = f"{TEXT}-{path.stem}"
    film.SeriesDescription = f"{TEXT} view: {TEXT}"
    film.private_block(0x0011, TEXT, create=True).add_new(1, "LO", TEXT)
    film.add_new(0x50003000, "OW", TEXT.encode() + b" ")
    film.add_new(0x60003000, "OW", TEXT.encode() + b" ")
    film.add_new(0x60004000, "LT", TEXT)
    film.preamble = TEXT.encode().ljust(128)
    film.save_as(path)
    return count


@quiet()
def spoil(path, how):
    """Make a bad or odd film of a good one in which text is planted."""
    film = pydicom.dcmread(path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return
    if how == "no pixels":
        del film.PixelData
    elif how == "size":
        film.Rows = 9999
    elif how == "text for numbers":
        film.PatientAge = film.PatientSex = film.ViewPosition = TEXT
        film.PhotometricInterpretation = TEXT
        film.add_new("PixelSpacing", "LO", [TEXT, TEXT])
    film.save_as(path)


SPOILED = ("cut", "no pixels", "size", "text for numbers")


def chest(source, folder, films=None):
    """A chest sample in every film of which text is planted; the first few of them bad."""
    shutil.copytree(source, folder)
    paths = sorted((folder / "stage_2_train_images").glob("*.dcm"))
    for path in paths[films or len(paths) :]:
        path.unlink()
    paths = paths[:films]
    assert all(plant(path) > 600 for path in paths)
    for path, how in zip(paths, SPOILED, strict=False):
        spoil(path, how)
    (folder / "stage_2_train_images" / "page.dcm").write_text(f"<html>{TEXT}</html>")
    return folder


def atrium(source, folder):
    """An atrium sample in every header of which text is planted; the first file cut."""
    shutil.copytree(source, folder)
    for path in sorted(folder.glob("*Tr/*.nii.gz")):
        image = nibabel.load(path)
        header = image.header
        for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
            header[field] = TEXT.encode()
        header.extensions.append(nibabel.nifti1.Nifti1DicomExtension(2, patient()))
        for kind in ("afni", "comment"):
            header.extensions.append(nibabel.nifti1.Nifti1Extension(kind, TEXT.encode()))
        image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), None, header)
        packed = io.BytesIO()
        with gzip.GzipFile(f"{TEXT}.nii", "wb", 6, packed) as stream:
            stream.write(image.to_bytes())
        path.write_bytes(packed.getvalue())
        assert found_in({path.name: path.read_bytes()})
    bad = sorted((folder / "imagesTr").glob("*.nii.gz"))[0]
    bad.write_bytes(bad.read_bytes()[:3000])
    return folder


# ---- Looking for it


def unpacked(content):
    """Some bytes, and all that is packed within them."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from unpacked(archive.read(name))
    elif content[:2] == b"\x1f\x8b":
        yield zlib.decompressobj(31).decompress(content)  # one may be cut
    elif content[:4] == b"\x89PNG" or content[:3] in (b"GIF", b"\xff\xd8\xff"):
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            yield repr(image.info).encode()
    for data in re.findall(rb"data:[\w/+-]+;base64,([A-Za-z0-9+/=]+)", content):
        yield from unpacked(base64.b64decode(data))


def parts(path):
    if path.suffix != ".tfrecord":
        return [path.read_bytes()]
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    features = [tf.train.Example.FromString(record).features.feature for record in records]
    stored = [value for of in features for one in of.values() for value in one.bytes_list.value]
    return [path.read_bytes(), *stored]


def found_in(contents):
    """Where, by name, what was planted is."""
    return [
        name
        for name, content in contents.items()
        for part in unpacked(content)
        if any(needle in part.lower() for needle in NEEDLES)
    ]


def written(*folders):
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {f"{path} ({number})": part for path in files for number, part in enumerate(parts(path))}


# ---- Tests


@pytest.mark.parametrize("kind", ["png", "npz", "gz", "html", "text"])
def test_what_is_planted_is_found_however_it_is_packed(kind):
    packed = io.BytesIO()
    if kind == "png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Comment", f"of {TEXT}", zip=True)
        Image.new("L", (3, 3)).save(packed, "PNG", pnginfo=info)
    elif kind == "npz":
        np.savez_compressed(packed, name=np.frombuffer(b"Planted^X", np.uint8))
    elif kind == "gz":
        packed.write(gzip.compress(DAY.encode()))
    elif kind == "html":
        packed.write(b"<img src=data:image/png;base64," + base64.b64encode(TEXT.encode()) + b">")
    else:
        packed.write(b"born 1917-03-05")
    assert found_in({"a": packed.getvalue(), "b": b"nothing"}) == ["a"]


def test_nothing_that_identifies_is_taken_from_a_film(samples, tmp_path):
    source = chest(samples[CHEST[0]], tmp_path / "source", films=12)
    assert len(ELEMENTS) > 640
    said = {}
    for index in (index_pneumonia, index_heart):
        cases = index(source)
        assert (cases["patient"] != "").all()
        said[index.__name__] = cases.to_csv().encode()
    for path in sorted((source / "stage_2_train_images").glob("*.dcm")):
        assert found_in({"a": path.read_bytes()}) or path.stem == "page"
        try:
            said[path.name] = stored_film(path, 64).encoded
        except UserError as error:
            said[path.name] = str(error).encode()
    refused = [name for name, content in said.items() if content.startswith(b"/")]
    assert len(refused) >= 4
    assert found_in(said) == []


@pytest.mark.slow
@pytest.mark.parametrize("project", [*CHEST, ATRIUM])
def test_nothing_that_identifies_is_in_what_three_whole_runs_write_and_print(
    samples, tmp_path, project
):
    make = atrium if project == ATRIUM else chest
    source = make(samples[project], tmp_path / "source")
    assert found_in(written(source))
    once = Whole(project, source, tmp_path)
    images = next(source.glob("*mages*"))
    out = tmp_path / "predictions"
    once.said["predict"] = run(
        project, "predict", images, "--run", once.run, "--output", out, "--pictures", 3
    )
    with open(once.prepared / "cases.csv") as file:
        assert sum(row["left_out"] != "" for row in csv.DictReader(file)) >= 1
    assert "skipped: " in once.said["predict"]
    contents = written(once.prepared, once.run, out)
    kinds = {Path(name.split(" ")[0]).suffix for name in contents}
    expected = {".csv", ".json", ".tfrecord", ".npz", ".keras", ".png", ".html", ".md"}
    assert kinds >= expected - ({".npz"} if project == ATRIUM else set())
    assert found_in(contents | {name: text.encode() for name, text in once.said.items()}) == []
