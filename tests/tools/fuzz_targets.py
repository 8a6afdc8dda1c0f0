"""Good files of every kind that is read, and how each is read."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from tests.helpers.dicom_frames import WRITTEN, write_film
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import jpeg_bytes, soft_image, write_dicom, write_nifti
from tests.helpers.geometry import LAS
from tests.helpers.itk_files import write_itk


class Target(NamedTuple):
    """A good file and its reader.

    Attributes:
        path: Where the reader looks for it.
        good: Its bytes.
        read: Reads it to the end; raises `UserError` or nothing.
        pack: What is within to a file, for formats with a checksum or a compression that would
            hide what is changed.
        inner: What is within.
    """

    path: Path
    good: bytes
    read: Callable[[], object]
    pack: Callable[[bytes], bytes] | None = None
    inner: bytes = b""


def dicom(folder: Path) -> list[Target]:
    """Headers, pictures, and what is compared to find duplicates."""
    import pandas as pd

    from common.datasets.duplicates import find_duplicates
    from common.imaging.dicom import read_radiograph
    from common.imaging.stored_films import read_stored

    folder.mkdir(parents=True)
    image, jpeg = soft_image(), jpeg_bytes(soft_image())
    deep = image.astype(np.uint16) * 16
    window = {"bits": 12, "WindowCenter": [2000, 9], "WindowWidth": [900, 9]}
    colour = np.stack([image, image[::-1], 255 - image], -1)
    j2k = io.BytesIO()
    _picture(image).save(j2k, "JPEG2000")
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -9, "PixelPaddingValue": 0}
    made = [
        write_dicom(folder / "plain.dcm", image, PatientAge="062Y", ViewPosition="PA"),
        write_dicom(folder / "jpeg.dcm", image, jpeg=jpeg),
        write_dicom(folder / "window.dcm", deep, photometric="MONOCHROME1", **window),
        write_dicom(folder / "rescale.dcm", deep.astype(np.int16) - 99, **rescale),
        write_dicom(folder / "colour.dcm", colour, photometric="RGB"),
        write_dicom(folder / "bare.dcm", image, uid.ImplicitVRLittleEndian, bare=True),
        write_dicom(folder / "big.dcm", deep, uid.ExplicitVRBigEndian, bits=12),
        write_dicom(folder / "deflated.dcm", image, uid.DeflatedExplicitVRLittleEndian),
        write_dicom(
            folder / "j2k.dcm", image, uid.JPEG2000, PixelData=encapsulate([j2k.getvalue()])
        ),
    ]
    made.append(_compressed(folder / "rle.dcm", deep, uid.RLELossless))

    def reader(path: Path) -> Callable[[], object]:
        case = pd.DataFrame({"case": ["a"], "path": [path.name]})
        return lambda: (
            find_duplicates(case.assign(stored=[read_stored(path)[1]]), folder, workers=1),
            read_radiograph(path),
        )

    return [Target(path, path.read_bytes(), reader(path)) for path in made]


def frames(folder: Path) -> list[Target]:
    """Films of every compressed transfer syntax, of which the compressed frame itself is changed.

    A third of the changed frames end as a JPEG does, so that decoders begin with them.
    """
    from common.imaging.dicom import read_radiograph

    folder.mkdir(parents=True)
    image = soft_image()
    films = {
        8: image,
        12: image.astype(np.uint16) * 16,
        24: np.stack([image, image[::-1], 255 - image], -1),
    }
    targets = []
    for syntax in (syntax for syntax in WRITTEN if syntax.is_encapsulated):
        for bits, pixels in films.items():
            film = folder / f"{syntax.keyword}-{bits}.dcm"
            if write_film(film, syntax, pixels, min(bits, 8 if bits == 24 else 12)) is None:
                continue
            dataset = pydicom.dcmread(film)
            inner = get_frame(dataset.PixelData, 0, number_of_frames=1)

            def pack(inner: bytes, dataset: pydicom.Dataset = dataset) -> bytes:
                end = b"\xff\xd9" if len(inner) % 3 == 0 else b""
                dataset.PixelData = encapsulate([(inner or b"\0") + end])
                file = io.BytesIO()
                dataset.save_as(file)
                return file.getvalue()

            read = partial(read_radiograph, film)
            targets.append(Target(film, film.read_bytes(), read, pack, inner))
    return targets


def _picture(image: np.ndarray):
    from PIL import Image

    return Image.fromarray(image)


def _compressed(path: Path, pixels: np.ndarray, syntax: uid.UID) -> Path:
    import pydicom

    dataset = pydicom.dcmread(write_dicom(path, pixels, bits=12))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    return path


def nifti(folder: Path) -> list[Target]:
    """Volumes, masks, and what is compared to find duplicates."""
    import nibabel as nib
    import pandas as pd

    from common.datasets.duplicates import find_duplicate_volumes
    from common.imaging.volumes import read_mask, read_volume

    folder.mkdir(parents=True)
    values = np.arange(9 * 8 * 7, dtype=np.int16).reshape(9, 8, 7)
    scaled = nib.Nifti1Image(values, LAS, nib.Nifti1Header(endianness=">"))
    scaled.header.set_slope_inter(0.5, -3)
    scaled.to_filename(folder / "scaled.nii")
    paths = [
        write_nifti(folder / "plain.nii", values, LAS),
        write_nifti(folder / "two.nii", values, LAS, nib.Nifti2Image),
        write_nifti(folder / "floats.nii.gz", values.astype(np.float32), LAS),
        folder / "scaled.nii",
    ]

    def reader(path: Path) -> Callable[[], object]:
        case = pd.DataFrame({"case": ["a"], "path": [path.name]})
        return lambda: (find_duplicate_volumes(case, folder, workers=1), read_volume(path))

    def slice_reader(path: Path) -> Callable[[], object]:
        return lambda: read_volume(path.parent)

    targets = [Target(path, path.read_bytes(), reader(path), *_inside(path)) for path in paths]
    slices = write_series(folder / "series", values, LAS)
    targets += [Target(path, path.read_bytes(), slice_reader(path)) for path in slices[2:4]]
    if find_spec("SimpleITK"):
        written = [write_itk(folder / name, values, LAS) for name in ("v.nrrd", "v.mha", "v.mhd")]
        targets += [Target(path, path.read_bytes(), reader(path)) for path in written]
    volume = read_volume(paths[0])
    mask = write_nifti(folder / "mask.nii.gz", (values > 99).astype(np.uint8), LAS)
    read = lambda: read_mask(mask, volume, {0: "background", 1: "atrium"})  # noqa: E731
    return [*targets, Target(mask, mask.read_bytes(), read, *_inside(mask))]


def _inside(path: Path) -> tuple[Callable[[bytes], bytes] | None, bytes]:
    if path.suffix != ".gz":
        return None, b""
    return lambda inner: gzip.compress(inner, 1), gzip.decompress(path.read_bytes())


def tables(folder: Path) -> list[Target]:
    """The CSV files of the challenge; what is indexed is written, and must come back as it was."""
    import csv

    from common.datasets.rsna import index_heart, index_pneumonia
    from common.records.summary import write_cases

    folder.mkdir(parents=True)
    (folder / "images").mkdir()
    for name in "abc":
        write_dicom(folder / "images" / f"{name}.dcm", soft_image(8, 8), PatientID=name)
    files = {
        "stage_2_train_labels.csv": "patientId,x,y,width,height,Target\na,1,2,3,4,1\nb,,,,,0\n"
        "c,,,,,0\n",
        "stage_2_detailed_class_info.csv": "patientId,class\na,Lung Opacity\nb,Normal\n",
        "nih_patients.csv": "patientId,nih_patient\na,0007\nb,0007\n",
        "rsna_heart_detection.csv": "label,x0,y0,w,h,name,img_shape_x,img_shape_y\n"
        "heart,1,2,3,4,a.png,8,8\nheart,1,1,5,5,b,8,8\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)

    def read(index: Callable) -> None:
        cases = index(folder)
        (folder / "out").mkdir(exist_ok=True)
        write_cases(folder / "out", cases)
        with open(folder / "out" / "cases.csv", newline="", encoding="utf-8") as file:
            found = [row["case"] for row in csv.DictReader(file)]
        assert found == list(cases["case"]), "cases.csv is broken"
        assert {path.name for path in folder.iterdir()} == {"images", "out", *files}

    indexes = {name: index_heart if "heart" in name else index_pneumonia for name in files}
    return [
        Target(folder / name, text.encode(), lambda name=name: read(indexes[name]))
        for name, text in files.items()
    ]


def dataset(folder: Path) -> list[Target]:
    """dataset.json of a decathlon folder."""
    from common.datasets.decathlon import index_volumes

    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
        for case in ("la_001", "la_002"):
            write_nifti(folder / name / f"{case}.nii.gz", np.ones((2, 2, 2), np.uint8))
    listed = [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
        for case in ("la_001", "la_002")
    ]
    content = {"labels": {"0": "background", "1": "left atrium"}, "training": listed}
    path = folder / "dataset.json"
    return [Target(path, json.dumps(content).encode(), lambda: index_volumes(folder))]


def prepared(folder: Path) -> list[Target]:
    """manifest.json, cases.csv and a TFRecord shard of a prepared folder."""

    from common.base.files import sha256, write_csv
    from common.records import shards
    from common.records.prepared import open_prepared
    from common.records.stored_images import png
    from common.records.tfrecords import as_example, write_records
    from common.training.pipeline import radiographs

    (folder / "records").mkdir(parents=True)
    shard = folder / "records" / "train-00000.tfrecord"
    cases = ({"image": png(soft_image(32, 32)), "case": case, "label": 1.0} for case in "abc")
    write_records(shard, map(as_example, cases))
    about = {
        "file": shard.name,
        "records": 3,
        "bytes": shard.stat().st_size,
        "sha256": sha256(shard),
    }
    rows = [{"case": case, "patient": case, "split": "train", "left_out": ""} for case in "abc"]
    write_csv(folder / "cases.csv", rows[0], rows)
    manifest = {
        "project": "p", "dataset": "d", "synthetic": True, "key": "k",
        "settings": {"image_size": 32}, "shards": {"train": [about]},
    }  # fmt: skip
    shards.finish(folder, manifest)

    def read() -> None:
        found = open_prepared(folder, "p")
        found.cases()
        found.count(found.splits)
        list(radiographs(found, found.splits, 32, {"label": 1}).as_numpy_iterator())

    names = ("manifest.json", "cases.csv", f"records/{shard.name}")
    return [Target(folder / name, (folder / name).read_bytes(), read) for name in names]


def keras(folder: Path) -> list[Target]:
    """Models, loaded and taken weights from."""
    import keras

    from common.models.starting_weights import take_weights
    from common.models.stored import load_model

    folder.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(x))
    path = folder / "model.keras"
    model.save(path)
    good = path.read_bytes()

    def read() -> None:
        load_model(path)
        take_weights(model, path)

    def member(name: str) -> tuple[Callable[[bytes], bytes], bytes]:
        with zipfile.ZipFile(io.BytesIO(good)) as archive:
            others = {entry: archive.read(entry) for entry in archive.namelist()}

        def pack(inner: bytes) -> bytes:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for entry, content in {**others, name: inner}.items():
                    archive.writestr(zipfile.ZipInfo(entry), content)
            return file.getvalue()

        return pack, others[name]

    names = ("config.json", "config.json", "metadata.json", "model.weights.h5")
    return [Target(path, good, read, *member(name)) for name in names]


TARGETS: dict[str, Callable[[Path], list[Target]]] = {
    "dicom": dicom,
    "frames": frames,
    "nifti": nifti,
    "tables": tables,
    "dataset": dataset,
    "prepared": prepared,
    "keras": keras,
}
