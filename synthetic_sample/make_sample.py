"""Make the built-in synthetic sample: chest radiographs and left-atrium MRI.

    python -m synthetic_sample.make_sample

Everything it writes says SYNTHETIC. The same seed gives the same bytes (with the same
versions of numpy, scipy and Pillow), whatever the number of processes.
"""

from __future__ import annotations

import argparse
import gzip
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from common.base.errors import UserError, run_script
from common.base.files import (
    ROOT,
    key_of,
    only_one,
    read_json,
    remove_parts,
    write_bytes,
    write_json,
)
from common.base.processes import each

VERSION = 4
"""Raised when the generator draws something else, so that an older sample is made again."""
DEFAULT_FOLDER = ROOT / "data" / "synthetic"
CHEST = "SYNTHETIC-rsna"
ATRIUM = "SYNTHETIC-Task02_Heart"
MARKER = "SYNTHETIC.json"
_SHOWN = {"unit": "case", "mininterval": 0.5}


def make_sample(
    folder: Path = DEFAULT_FOLDER,
    seed: int = 2022,
    chest_images: int = 400,
    atrium_volumes: int = 16,
    parts: Sequence[str] = ("chest", "atrium"),
    workers: int = 0,
) -> dict[str, Path]:
    """Make the sample, or return at once where it is complete.

    Args:
        folder: Where its datasets are made, each in a folder of its own.
        seed: What it is drawn from.
        chest_images: Number of chest radiographs.
        atrium_volumes: Number of MRI volumes.
        parts: Which of ``chest`` and ``atrium`` to make.
        workers: Number of processes; 0 is one for each processor.

    Returns:
        The folder of each part: ``{"chest": ..., "atrium": ...}``.

    Raises:
        UserError: If a part is unknown or a count is below 1.
    """
    makers: dict[str, tuple[str, int, Callable[..., None]]] = {
        "chest": (CHEST, chest_images, _make_chest),
        "atrium": (ATRIUM, atrium_volumes, _make_atrium),
    }
    made = {}
    for part in parts:
        if part not in makers:
            raise UserError(f"a part of the sample is one of {sorted(makers)}. Received: {part!r}")
        name, count, maker = makers[part]
        if count < 1:
            raise UserError(f"the sample needs at least 1 case of {part}. Received: {count}")
        made[part] = Path(folder) / name
        marker = {"synthetic": True, "part": part, "version": VERSION, "seed": seed, "count": count}
        marker["key"] = key_of(marker)
        if _complete(made[part], marker["key"]):
            continue
        # The lock lies beside, for its time would be among those of the dataset's files.
        with only_one(Path(folder)):
            if _complete(made[part], marker["key"]):
                continue
            (made[part] / MARKER).unlink(missing_ok=True)
            remove_parts(Path(folder))
            maker(made[part], seed, count, workers)
            write_json(made[part] / MARKER, marker)
    return made


def _complete(folder: Path, key: str) -> bool:
    try:
        return read_json(folder / MARKER).get("key") == key
    except (UserError, AttributeError):
        return False


def _make_chest(folder: Path, seed: int, count: int, workers: int) -> None:
    from synthetic_sample.chest_dataset import IMAGES, plan_cases, write_case, write_tables

    cases = plan_cases(seed, count)
    _remove_others(folder / IMAGES, {f"{case.image_id}.dcm" for case in cases})
    drawn = each(
        partial(write_case, folder=folder),
        cases,
        2,
        workers,
        desc="SYNTHETIC chest films",
        **_SHOWN,
    )
    write_tables(cases, drawn, folder)


def _make_atrium(folder: Path, seed: int, count: int, workers: int) -> None:
    names = [f"la_{number + 1:03d}.nii.gz" for number in range(count)]
    for part in ("imagesTr", "labelsTr"):
        _remove_others(folder / part, set(names))
    each(
        partial(_write_volume, folder=folder, seed=seed),
        list(enumerate(names)),
        2,
        workers,
        desc="SYNTHETIC atrium volumes",
        **_SHOWN,
    )
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
            "numTraining": count,
            "numTest": 0,
            "training": [
                {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
            ],
            "test": [],
        },
    )


def _write_volume(case: tuple[int, str], folder: Path, seed: int) -> None:
    import nibabel

    from synthetic_sample.atrium import draw_volume

    number, name = case
    volume = draw_volume(seed, number)
    for part, voxels in (("imagesTr", volume.image), ("labelsTr", volume.label)):
        nifti = nibabel.Nifti1Image(voxels, volume.affine)
        nifti.header.set_xyzt_units("mm")
        nifti.set_sform(volume.affine, 1)
        nifti.set_qform(volume.affine, 1)
        nifti.header["descrip"] = b"SYNTHETIC"
        packed = io.BytesIO()
        # Without a time and a name in its header the same volume is the same file.
        with gzip.GzipFile("", "wb", 6, packed, mtime=0) as stream:
            stream.write(nifti.to_bytes())
        write_bytes(folder / part / name, packed.getvalue())


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier, other sample or a killed run left, so that no case is extra."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in names and path.is_file():
                path.unlink()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Make the built-in SYNTHETIC sample: chest radiographs as RSNA-like DICOM "
        "and left-atrium MRI as NIfTI in the decathlon layout.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where it is made")
    parser.add_argument("--seed", type=int, default=2022, help="what it is drawn from")
    parser.add_argument("--chest-images", type=int, default=400, help="number of radiographs")
    parser.add_argument("--atrium-volumes", type=int, default=16, help="number of MRI volumes")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("chest", "atrium"),
        default=("chest", "atrium"),
        help="which datasets to make",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        help="number of processes; 0 is one for each processor",
    )
    given = parser.parse_args()
    print("SYNTHETIC sample: computed images, taken of nobody")
    for part, folder in make_sample(**vars(given)).items():
        print(f"{part}: {folder}")


if __name__ == "__main__":
    run_script(main)
