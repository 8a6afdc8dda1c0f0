"""What is timed: made from the built-in sample, so that anyone can time the same.

The films are RSNA-like: 1024 x 1024 JPEG Baseline of some 120 KB, as the challenge's are. A set of
any size is the same few files under other names (hard links).
"""

from __future__ import annotations

import os
import shutil
from io import BytesIO
from pathlib import Path

from benchmarks.measuring import Options

SIDE = 1024
_FILMS = 48
_QUALITY = 90


def sample(options: Options) -> dict[str, Path]:
    """The built-in sample: ``chest`` and ``atrium``."""
    from data.make_sample import make_sample

    return make_sample(options.work / "sample", chest_images=200, atrium_volumes=8)


def films(options: Options) -> list[Path]:
    """RSNA-like DICOM files, each another film."""
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom import uid
    from pydicom.encaps import encapsulate

    from common.artefacts import write_bytes
    from common.dicom import read_radiograph

    folder = options.work / "films"
    made = sorted(folder.glob("*.dcm"))
    if len(made) == _FILMS:
        return made
    sources = sorted((sample(options)["chest"] / "stage_2_train_images").glob("*.dcm"))[:_FILMS]
    noise = np.random.default_rng(0)
    for number, source in enumerate(sources):
        pixels = Image.fromarray(read_radiograph(source).pixels).resize((SIDE, SIDE))
        noisy = np.asarray(pixels) + noise.normal(0, 2.0, (SIDE, SIDE))
        jpeg = BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
            jpeg, "JPEG", quality=_QUALITY
        )
        film = pydicom.dcmread(source)
        for name in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
            if name in film:
                del film[name]
        film.Rows = film.Columns = SIDE
        film.BitsAllocated = film.BitsStored = 8
        film.HighBit, film.PixelRepresentation = 7, 0
        film.PhotometricInterpretation = "MONOCHROME2"
        film.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        film.PixelData = encapsulate([jpeg.getvalue()])
        film["PixelData"].is_undefined_length = True
        whole = BytesIO()
        film.save_as(whole, enforce_file_format=True)
        write_bytes(folder / f"film-{number:03d}.dcm", whole.getvalue())
    return sorted(folder.glob("*.dcm"))


def linked(files: list[Path], folder: Path, count: int) -> list[Path]:
    """``count`` names of some files in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = []
    for number in range(count):
        source = files[number % len(files)]
        name = folder / f"case-{number:06d}{''.join(source.suffixes)}"
        os.link(source, name)
        names.append(name)
    return names


def prepared(options: Options, project: str, *settings: str) -> Path:
    """The sample as a project's prepare_data.py writes it, made once for each of its settings."""
    import subprocess
    import sys

    from common.artefacts import ROOT, key_of

    source = sample(options)["atrium" if project.startswith("atrium") else "chest"]
    folder = options.work / f"{project}-{key_of(settings)[:8]}"
    command = [sys.executable, "-m", f"{project}.prepare_data", "--preset", "cpu"]
    places = ["--source", str(source), "--prepared", str(folder)]
    subprocess.run([*command, *places, *settings], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder
