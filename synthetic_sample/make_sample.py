"""Make the built-in synthetic sample: chest radiographs and left-atrium MRI.

    python -m synthetic_sample.make_sample

Everything it writes says SYNTHETIC. The same seed gives the same bytes (with the same
versions of numpy, scipy and Pillow), whatever the number of processes.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.base.errors import UserError, run_script
from common.base.files import (
    ROOT,
    content_key,
    lock_folder,
    read_json,
    remove_partial_files,
    write_json,
)
from common.base.processes import each
from synthetic_sample import VERSION

DEFAULT_FOLDER = ROOT / "data" / "synthetic"
CHEST = "SYNTHETIC-rsna"
ATRIUM = "SYNTHETIC-Task02_Heart"
MARKER = "SYNTHETIC.json"
PARTS = ("chest", "atrium")


def make_sample(
    folder: Path = DEFAULT_FOLDER,
    seed: int = 2022,
    chest_images: int = 400,
    atrium_volumes: int = 16,
    parts: Sequence[str] = PARTS,
    workers: int = 0,
) -> dict[str, Path]:
    """Make the sample, or return at once where it is complete.

    Args:
        folder: Where its datasets are made, each in a folder of its own.
        seed: What the sample is drawn from.
        chest_images: Number of chest radiographs.
        atrium_volumes: Number of MRI volumes.
        parts: Which of ``chest`` and ``atrium`` to make.
        workers: Number of processes; 0 is one per processor.

    Returns:
        The folder of each part: ``{"chest": ..., "atrium": ...}``.

    Raises:
        UserError: If a part is unknown or a count is below 1.
    """
    counts = {"chest": (CHEST, chest_images), "atrium": (ATRIUM, atrium_volumes)}
    folders = {}
    for part in parts:
        if part not in counts:
            raise UserError(f"a part of the sample is one of {sorted(counts)}. Received: {part!r}")
        name, count = counts[part]
        if count < 1:
            raise UserError(f"the sample needs at least 1 case of {part}. Received: {count}")
        folders[part] = Path(folder) / name
        marker = {"synthetic": True, "part": part, "version": VERSION, "seed": seed, "count": count}
        key = content_key(marker)
        if _complete(folders[part], key):
            continue
        # The lock lies in the folder above: its time would be among those of the dataset's files.
        with lock_folder(Path(folder)):
            if _complete(folders[part], key):
                continue
            (folders[part] / MARKER).unlink(missing_ok=True)
            remove_partial_files(Path(folder))
            _make(part, folders[part], seed, count, workers)
            write_json(folders[part] / MARKER, {**marker, "key": key})
    return folders


def _complete(folder: Path, key: str) -> bool:
    try:
        return read_json(folder / MARKER).get("key") == key
    except (UserError, AttributeError):
        return False


def _make(part: str, folder: Path, seed: int, count: int, workers: int) -> None:
    # Here, so that neither --help nor a sample that is complete waits for what draws.
    from synthetic_sample import atrium_dataset, chest_dataset

    dataset, title = {
        "chest": (chest_dataset, "SYNTHETIC chest films"),
        "atrium": (atrium_dataset, "SYNTHETIC atrium volumes"),
    }[part]
    cases = dataset.plan_cases(seed, count)
    names = {case.file_name for case in cases}
    for path in itertools.chain(*((folder / name).glob("*") for name in dataset.FOLDERS)):
        # A file of an earlier sample or of a killed run would be an extra case.
        if path.name not in names and path.is_file():
            path.unlink()
    write = partial(dataset.write_case, folder=folder)
    drawn = each(write, cases, 2, workers, desc=title, unit="case", mininterval=0.5)
    dataset.write_tables(cases, drawn, folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Make the built-in SYNTHETIC sample: chest radiographs as RSNA-like DICOM "
        "and left-atrium MRI as NIfTI in the decathlon layout.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--folder", type=Path, default=DEFAULT_FOLDER, help="where the datasets are made")
    add("--seed", type=int, default=2022, help="what the sample is drawn from")
    add("--chest-images", type=int, default=400, help="number of radiographs")
    add("--atrium-volumes", type=int, default=16, help="number of MRI volumes")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="which datasets to make")
    add("--workers", type=int, default=0, help="number of processes; 0 is one per processor")
    arguments = parser.parse_args()
    print("SYNTHETIC sample: computed images, taken of nobody")
    for part, folder in make_sample(**vars(arguments)).items():
        print(f"{part}: {folder}")


if __name__ == "__main__":
    run_script(main)
