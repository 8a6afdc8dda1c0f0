"""The synthetic atrium set on disk: NIfTI volumes and masks, and the decathlon's dataset.json."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel

from common.base.files import write_bytes, write_json
from synthetic_sample import VERSION
from synthetic_sample.atrium import draw_volume

FOLDERS = ("imagesTr", "labelsTr")


@dataclass(frozen=True)
class AtriumCase:
    """One volume of the set, before it is drawn: its place in the set made from a seed."""

    seed: int
    number: int

    @property
    def file_name(self) -> str:
        return f"la_{self.number + 1:03d}.nii.gz"


def plan_cases(seed: int, count: int) -> list[AtriumCase]:
    """The cases of the set."""
    return [AtriumCase(seed, number) for number in range(count)]


def write_case(case: AtriumCase, folder: Path) -> None:
    """Draw one case and write its image and its mask."""
    volume = draw_volume(case.seed, case.number)
    for part, voxels in zip(FOLDERS, (volume.image, volume.label), strict=True):
        nifti = nibabel.Nifti1Image(voxels, volume.affine)
        nifti.header.set_xyzt_units("mm")
        nifti.set_sform(volume.affine, 1)
        nifti.set_qform(volume.affine, 1)
        nifti.header["descrip"] = b"SYNTHETIC"
        packed = io.BytesIO()
        # Without a time and a name in its header the same volume is the same file.
        with gzip.GzipFile("", "wb", 6, packed, mtime=0) as stream:
            stream.write(nifti.to_bytes())
        write_bytes(folder / part / case.file_name, packed.getvalue())


def write_tables(cases: Sequence[AtriumCase], drawn: Sequence[None], folder: Path) -> None:
    """Write ``dataset.json``; nothing of what was drawn is needed for it."""
    names = [case.file_name for case in cases]
    write_json(
        folder / "dataset.json",
        {
            "name": "SYNTHETIC LeftAtrium",
            "description": "SYNTHETIC: computed left-atrium-like volumes, taken of nobody",
            "reference": "the generator in data/ of this repository",
            "licence": "as the repository",
            "release": f"{VERSION}.0",
            "tensorImageSize": "3D",
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "left atrium"},
            "numTraining": len(names),
            "numTest": 0,
            "training": [
                {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
            ],
            "test": [],
        },
    )
