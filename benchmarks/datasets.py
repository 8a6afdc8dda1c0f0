"""The data of the timings: made from the built-in sample, so that anyone can time the same.

The films are RSNA-like: 1024 x 1024 JPEG Baseline of some 120 KB, as the challenge's are. A set of
any size is the same few files under other names (hard links). The volumes have the voxels of
Task02_Heart's.
"""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from nibabel import nifti1
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from benchmarks.measuring import Options
from common.base.files import ROOT, atomic_write, write_bytes
from common.imaging.dicom import read_radiograph
from common.imaging.grids import resample, resample_labels
from common.records import shards
from synthetic_sample.make_sample import make_sample

FILM_SIZE = 1024
"""Side of a film in pixels."""
VOXELS, VOXEL_MM = (320, 320, 112), (1.25, 1.25, 1.37)
_FILMS = 48


def sample(options: Options) -> dict[str, Path]:
    """The built-in sample: ``chest`` and ``atrium``."""
    return make_sample(options.work / "sample", chest_images=200, atrium_volumes=8)


def films(options: Options) -> list[Path]:
    """RSNA-like DICOM files, no film twice."""
    folder = options.work / "films"
    files = sorted(folder.glob("*.dcm"))
    if len(files) == _FILMS:
        return files
    sources = sorted((sample(options)["chest"] / "stage_2_train_images").glob("*.dcm"))[:_FILMS]
    noise = np.random.default_rng(0)
    for number, source in enumerate(sources):
        pixels = Image.fromarray(read_radiograph(source).pixels).resize((FILM_SIZE, FILM_SIZE))
        noisy = np.asarray(pixels) + noise.normal(0, 2.0, (FILM_SIZE, FILM_SIZE))
        jpeg, eight_bit = BytesIO(), np.clip(noisy, 0, 255).astype(np.uint8)
        Image.fromarray(eight_bit).save(jpeg, "JPEG", quality=90)
        film = pydicom.dcmread(source)
        for name in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
            film.pop(name, None)
        film.Rows = film.Columns = FILM_SIZE
        film.BitsAllocated = film.BitsStored = 8
        film.HighBit, film.PixelRepresentation = 7, 0
        film.PhotometricInterpretation = "MONOCHROME2"
        film.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        film.PixelData = encapsulate([jpeg.getvalue()])
        film["PixelData"].is_undefined_length = True
        with atomic_write(folder / f"film-{number:03d}.dcm") as temporary:
            film.save_as(temporary, enforce_file_format=True)
    return sorted(folder.glob("*.dcm"))


def volumes(options: Options) -> tuple[list[Path], list[Path]]:
    """Images and masks as large as Task02_Heart's, no volume of the sample twice."""
    folder, source = options.work / "volumes", sample(options)["atrium"]
    images, masks = folder / "imagesTr", folder / "labelsTr"
    noise = np.random.default_rng(0)
    affine = np.diag([*VOXEL_MM, 1.0])
    for mask_file in sorted((source / "labelsTr").glob("la_*.nii.gz")):
        if (masks / mask_file.name).exists():
            continue
        image = np.asarray(nifti1.load(source / "imagesTr" / mask_file.name).dataobj)
        mask = np.asarray(nifti1.load(mask_file).dataobj).astype(np.uint8)
        values = resample(image, VOXELS) + noise.normal(0, 0.02 * image.max(), VOXELS)
        for path, content in (
            (images / mask_file.name, np.clip(np.rint(values), 0, None).astype(np.int16)),
            (masks / mask_file.name, resample_labels(mask, VOXELS)),
        ):
            write_bytes(path, gzip.compress(nifti1.Nifti1Image(content, affine).to_bytes(), 6))
    return sorted(images.glob("la_*.nii.gz")), sorted(masks.glob("la_*.nii.gz"))


def write_shards(
    folder: Path, cases: Sequence[dict[str, Any]], decode: Callable[..., Any], cases_per_shard: int
) -> None:
    """Write cases to shards in a new folder, as prepare_data.py does.

    Raises:
        RuntimeError: A case was not read.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _, failures = shards.write_shards(folder, cases, decode, cases_per_shard, 0)
    if failures:
        raise RuntimeError(f"{len(failures)} cases were not read: {next(iter(failures.values()))}")


def linked(files: list[Path], folder: Path, count: int) -> list[Path]:
    """``count`` names of some files in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = []
    for number, source in zip(range(count), itertools.cycle(files), strict=False):
        names.append(folder / f"case-{number:06d}{''.join(source.suffixes)}")
        os.link(source, names[-1])
    return names


def prepared(options: Options, project: str) -> Path:
    """The sample as a project's prepare_data.py writes it, made once."""
    source = sample(options)["atrium" if project.startswith("atrium") else "chest"]
    command = prepare_command(project, source, options.work / project)
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return options.work / project


def prepare_command(project: str, source: Path, folder: Path) -> list[str]:
    """The command line of a project's ``prepare_data.py --preset cpu``."""
    command = [sys.executable, "-m", f"{project}.prepare_data", "--preset", "cpu"]
    return [*command, "--source", str(source), "--prepared", str(folder)]
