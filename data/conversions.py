"""Published folders to the layouts that prepare_data.py reads, film by film, under known names.

A new folder is whole or absent, and its source stays as it is. The names are those of data/lists,
so that ``prepare_data.py --split-from`` finds each film in its split.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import nibabel
import numpy as np
from PIL import Image

from common.base.errors import UserError
from common.base.files import write_csv, write_json
from common.base.progress import progress
from common.datasets.class_folders import index_folders
from common.datasets.csv_tables import list_names, read_csv
from common.datasets.images import find_films
from common.datasets.patients import MAPPING, PATIENTS
from common.datasets.rsna import CLASSES, HEARTS, IMAGE_FOLDERS, LABELS
from common.imaging.volume_files import read_file
from common.imaging.volume_names import is_volume, stem

Names = Collection[str] | None
"""The names of the films that are wanted; None for all."""

SPACING_MM = 0.625
"""Of the volumes of the 2018 Atrial Segmentation Challenge, along each axis."""

_H5 = "mri_norm2.h5"


def convert_rsna(source: Path, folder: Path, names: Names = None) -> int:
    """Those films of RSNA's challenge that a list names, in the challenge's layout.

    Args:
        source: The challenge's folder, as unpacked.
        folder: The new folder: the films as they are, the rows of the tables that are theirs, and
            who the patients are.
        names: The wanted ``patientId``.

    Returns:
        The number of films.

    Raises:
        UserError: There are none of them; the new folder is there.
    """
    films = {
        name: Path(files[0]) for name, files in find_films(source / IMAGE_FOLDERS[0]).by_id.items()
    }
    both = _wanted(source, films, names)
    with _new_folder(folder) as unfinished:
        for name in progress(both, unit="file"):
            shutil.copyfile(films[name], _film(unfinished, films[name].name))
        tables = ((LABELS[0], "patientId"), (CLASSES[0], "patientId"), (HEARTS, "name"))
        for table, column in tables:
            if (source / table).exists():
                columns, rows = read_csv(source / table, [column])
                theirs = [row for _, row in rows if row[column] in both]
                write_csv(unfinished / table, columns, theirs)
        for table in (PATIENTS, MAPPING):
            if (source / table).exists():
                shutil.copyfile(source / table, unfinished / table)
    return len(both)


def convert_kermany(source: Path, folder: Path, names: Names = None) -> int:
    """Kermany's JPEG folders to the challenge's layout.

    The JPEG files are copied as they are. Splits are forgotten: Kaggle's and Mendeley's names of a
    split leak children, and data/lists has another.

    Args:
        source: ``train/`` and ``test/`` with ``NORMAL/`` and ``PNEUMONIA/``, as unpacked.
        folder: The new folder: films and ``stage_2_train_labels.csv``, 1 for pneumonia.
        names: The wanted films, by their names without suffix.

    Returns:
        The number of films.

    Raises:
        UserError: There are no such folders; the new folder is there.
    """
    cases = index_folders(source, positive="PNEUMONIA")
    if cases.attrs["classes"] != ["NORMAL", "PNEUMONIA"]:
        names = ", ".join(cases.attrs["classes"])
        raise UserError(f"{source}: expected the folders NORMAL and PNEUMONIA; found {names}")
    films = {case: source / path for case, path in zip(cases["case"], cases["path"], strict=True)}
    labels = dict(zip(cases["case"], cases["label"], strict=True))
    both = _wanted(source, films, names)
    with _new_folder(folder) as unfinished:
        for case in progress(both, unit="file"):
            shutil.copyfile(films[case], _film(unfinished, f"{case}{films[case].suffix.lower()}"))
        rows = [{"patientId": case, "Target": labels[case]} for case in both]
        write_csv(
            unfinished / LABELS[0], ("patientId", "x", "y", "width", "height", "Target"), rows
        )
    return len(both)


def convert_jsrt(source: Path, folder: Path, names: Names = None) -> int:
    """JSRT's films with SCR's heart masks to heart boxes.

    Args:
        source: Holds JSRT's ``*.IMG`` (2048 x 2048, 12 bits, big-endian, bone dark) and SCR's
            ``fold1/masks/heart/*.gif``, ``fold2/masks/heart/*.gif``, at any depth.
        folder: The new folder: films as 16-bit PNG, and ``rsna_heart_detection.csv``.
        names: The wanted films, such as jsrt-JPCLN001.

    Returns:
        The number of films.

    Raises:
        UserError: There are none, or a film is of another size; the new folder is there.
    """
    films = {f"jsrt-{file.stem}": file for file in _files(source, (".img",))}
    masks = {f"jsrt-{file.stem}": file for file in _files(source, (".gif",)) if _is_of_heart(file)}
    _require_pairs(source, films, masks, "*.IMG films", "masks/heart/*.gif masks")
    both = _wanted(source, films.keys() & masks.keys(), names)
    with _new_folder(folder) as unfinished:
        for name in progress(both, unit="file"):
            Image.fromarray(read_jsrt(films[name])).save(_film(unfinished, f"{name}.png"))
        _write_boxes(unfinished, {name: masks[name] for name in both})
    return len(both)


def convert_ctr(source: Path, folder: Path, names: Names = None) -> int:
    """The cardiothoracic ratio dataset (JSRT and Wingspan, 512 x 512) to heart boxes.

    Args:
        source: Holds ``jsrt/`` and ``wingspan/``, each with ``png/*.png`` and
            ``mask/heart/*.png``.
        folder: The new folder: the films as they are, and ``rsna_heart_detection.csv``.
        names: The wanted films, such as wingspan-1245885081467-12600.

    Returns:
        The number of films.

    Raises:
        UserError: There are none; the new folder is there.
    """
    pictures = _files(source, (".png",))
    films = {_ctr_name(file): file for file in pictures if file.parent.name == "png"}
    masks = {_ctr_name(file, 3): file for file in pictures if _is_of_heart(file)}
    _require_pairs(source, films, masks, "png/*.png films", "mask/heart/*.png masks")
    both = _wanted(source, films.keys() & masks.keys(), names)
    with _new_folder(folder) as unfinished:
        for name in progress(both, unit="file"):
            shutil.copyfile(films[name], _film(unfinished, f"{name}.png"))
        _write_boxes(unfinished, {name: masks[name] for name in both})
    return len(both)


def convert_uamt(source: Path, folder: Path, names: Names = None, part: str = "train") -> int:
    """UA-MT's h5 volumes to the decathlon's layout.

    Their values are standardised whole numbers; these numbers are written again, counted from the
    volume's lowest, where they are at most 255 (else the standardised values). They hold no affine:
    the one that is written says RAS, though the voxels stand as in the challenge, LPS, so that all
    are turned by 180 degrees about the axis from feet to head (docs/atrium.md).

    Args:
        source: Holds ``train.list`` and ``test.list``, and ``NAME/mri_norm2.h5`` with ``image``
            and ``label``, (x, y, z), at any depth.
        folder: The new folder: ``imagesTr/la_001.nii.gz`` and so on, numbered by sorted name.
        names: The wanted volumes, such as la_001.
        part: "train" for the volumes of train.list, "test" for those of test.list.

    Returns:
        The number of volumes.

    Raises:
        UserError: A list or a volume is not there or broken; the new folder is there.
    """
    listing = next(iter(sorted(source.rglob(f"{part}.list"))), None)
    if listing is None:
        raise UserError(
            f"{source}: holds no {part}.list; give the folder of UA-MT's data; found "
            f"{list_names(source)}"
        )
    listed = sorted(filter(None, map(str.strip, listing.read_text().splitlines())))
    volumes = {file.parent.name: file for file in source.rglob(_H5)}
    missing = [name for name in listed if name not in volumes]
    if missing or not listed:
        raise UserError(
            f"{source}: {len(missing)} of the {len(listed)} volumes of {listing.name} are not "
            f"there: expected NAME/{_H5}"
        )
    files = {f"la_{number:03d}": volumes[name] for number, name in enumerate(listed, 1)}
    both = _wanted(source, files, names)
    with _new_folder(folder) as unfinished:
        for name in progress(both, unit="file"):
            for part_of, values in zip(("images", "labels"), _read_h5(files[name]), strict=True):
                _write_volume(unfinished / f"{part_of}Tr" / f"{name}.nii.gz", values)
        _write_dataset(unfinished, 1, "; cropped volumes of Yu et al. 2019 (UA-MT)")
    return len(both)


def convert_la2018(source: Path, folder: Path, names: Names = None) -> int:
    """The folders of the 2018 Atrial Segmentation Challenge to the decathlon's layout.

    Args:
        source: Holds ``NAME/lgemri.nrrd`` and ``NAME/laendo.nrrd`` (or .nii.gz), at any depth.
        folder: The new folder: the same files as ``imagesTr/NAME.nrrd`` and ``labelsTr/NAME.nrrd``.
        names: The wanted folders.

    Returns:
        The number of volumes.

    Raises:
        UserError: There is no such folder, two have one name, or a mask marks nothing or more than
            one value; the new folder is there.
    """
    volumes = [path for path in sorted(source.rglob("*")) if is_volume(path)]
    images, masks = (
        {str(path.parent): path for path in volumes if stem(path.name).lower() == name}
        for name in ("lgemri", "laendo")
    )
    _require_pairs(source, images, masks, "lgemri volumes", "laendo masks")
    pairs = {Path(place).name: (images[place], masks[place]) for place in images if place in masks}
    if len(pairs) < len(images.keys() & masks.keys()):
        raise UserError(f"{source}: two folders of volumes have one name; give one part of it")
    both = _wanted(source, pairs, names)
    values: set[int] = set()
    with _new_folder(folder) as unfinished:
        for name in progress(both, unit="file"):
            values |= {int(value) for value in np.unique(read_file(pairs[name][1])[0])}
            for part_of, file in zip(("imagesTr", "labelsTr"), pairs[name], strict=True):
                (unfinished / part_of).mkdir(exist_ok=True)
                new = name + file.name[len(stem(file.name)) :].lower()
                shutil.copyfile(file, unfinished / part_of / new)
        if len(values - {0}) != 1:
            raise UserError(f"{source}: its masks hold {sorted(values)}; expected 0 and another")
        _write_dataset(unfinished, max(values), "")
    return len(both)


def _write_dataset(folder: Path, value: int, more: str) -> None:
    """The decathlon's dataset.json; the masks have ``value`` where the atrium is."""
    images, masks = (
        [f"./{path.relative_to(folder).as_posix()}" for path in sorted((folder / name).iterdir())]
        for name in ("imagesTr", "labelsTr")
    )
    training = [{"image": image, "label": m} for image, m in zip(images, masks, strict=True)]
    content = {
        "name": "LeftAtrium",
        "reference": f"2018 Atrial Segmentation Challenge, Xiong et al. 2020{more}",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", str(value): "left atrium"},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    write_json(folder / "dataset.json", content)


def read_jsrt(file: Path) -> np.ndarray:
    """A film of JSRT, (rows, columns), uint16, bone bright.

    Its 12 bits are the upper ones of 16. The file has no header, and a film is a square.

    Raises:
        UserError: The file is of another size, or has values of more bits.
    """
    values = np.fromfile(file, ">u2")
    side = math.isqrt(len(values))
    if side == 0 or file.stat().st_size != 2 * side * side or values.max() > 4095:
        raise UserError(f"{file}: is no film of JSRT (2048 x 2048 numbers of 12 bits)")
    return ((4095 - values).astype(np.uint16) << 4).reshape(side, side)


def _read_h5(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with h5py.File(file) as volume:
            image, label = volume["image"][:], volume["label"][:]
    except (OSError, KeyError) as error:
        raise UserError(f"{file}: is no volume of UA-MT ({error}); fetch it again") from None
    if image.ndim != 3 or image.shape != label.shape:
        raise UserError(f"{file}: image {image.shape} and label {label.shape} are not of one grid")
    levels = np.unique(image)
    if 1 < len(levels) <= 256:
        numbers = (image - levels[0]) / np.diff(levels).min()
        whole = np.rint(numbers)
        if whole.max() <= 255 and np.abs(numbers - whole).max() < 0.1:
            image = whole.astype(np.uint8)
    return image, (label > 0).astype(np.uint8)


def _write_volume(file: Path, values: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    volume = nibabel.Nifti1Image(values, np.diag([SPACING_MM] * 3 + [1.0]))
    volume.header.set_xyzt_units("mm")
    volume.set_qform(volume.affine, 1)
    volume.set_sform(volume.affine, 1)
    nibabel.save(volume, file)


def _files(source: Path, suffixes: Sequence[str]) -> list[Path]:
    return [
        file
        for file in sorted(source.rglob("*"))
        if file.suffix.lower() in suffixes and not file.name.startswith("._")
    ]


def _is_of_heart(file: Path) -> bool:
    return file.parent.name == "heart" and file.parent.parent.name in ("mask", "masks")


def _ctr_name(file: Path, depth: int = 2) -> str:
    """``jsrt-JPCLN001``; of a Wingspan film, whose name is a UID, its last two numbers."""
    return f"{file.parents[depth - 1].name}-{'-'.join(file.stem.split('.')[-2:])}"


def _require_pairs(
    source: Path, films: Mapping[str, Path], masks: Mapping[str, Path], film: str, mask: str
) -> None:
    """Print how many films have no mask.

    Raises:
        UserError: None has.
    """
    both = films.keys() & masks.keys()
    if not both:
        raise UserError(
            f"{source}: holds {len(films)} {film} and {len(masks)} {mask}, and no pair of one "
            f"name; found {list_names(source)}"
        )
    if alone := len(films) - len(both):
        print(f"{alone} films have no mask, and are left out")


def _wanted(source: Path, there: Collection[str], names: Names) -> list[str]:
    """The names that are wanted and there, sorted.

    Raises:
        UserError: There are none.
    """
    both = sorted(there if names is None else set(there) & set(names))
    if not both:
        raise UserError(
            f"{source}: holds none of the films that are wanted; it holds {len(there)} others; "
            f"found {list_names(source)}"
        )
    if names is not None and len(both) < len(names):
        print(f"{len(names) - len(both)} of the {len(names)} films of the list are not there")
    return both


def _write_boxes(folder: Path, masks: Mapping[str, Path]) -> None:
    """The tight box of each mask, in its own pixels."""
    rows = []
    for name, file in masks.items():
        with Image.open(file) as picture:
            mask = np.asarray(picture.convert("L")) > 0
        if not mask.any():
            raise UserError(f"{file}: marks no heart; fetch it again, or remove it")
        (top, *_, bottom), (first, *_, last) = (
            (places[0], places[-1]) for places in map(np.flatnonzero, (mask.any(1), mask.any(0)))
        )
        box = {"x0": first, "y0": top, "w": last + 1 - first, "h": bottom + 1 - top}
        shape = {"img_shape_x": mask.shape[1], "img_shape_y": mask.shape[0]}
        rows.append({"label": "heart", **box, "name": name, **shape})
    columns = ("label", "x0", "y0", "w", "h", "name", "img_shape_x", "img_shape_y")
    write_csv(folder / HEARTS, columns, rows)


def _film(folder: Path, name: str) -> Path:
    images = folder / IMAGE_FOLDERS[0]
    images.mkdir(exist_ok=True)
    return images / name


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, renamed when the block succeeds.

    Raises:
        UserError: It is there already, with something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already, and stays as it is; give another folder")
    unfinished = folder.with_name(f".{folder.name}.converting")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)
