"""The table of prepare_data.py at 1,000 to 1,000,000 films: CPU seconds, and memory at its peak.

    python -m benchmarks.large_table
    python -m benchmarks.large_table --layouts csv rsna --counts 1000 100000

The pneumonia project's prepare_data.py, from the list of files to the manifest: index, ids,
duplicates, split, ``cases.csv``, ``images.csv``, ``cohort.csv``. What needs pixels is made up: what
a film's header says, its bytes' digests, and the shards. Films are holes in empty files, but those
that equal another, which are decoded to compare them. The seconds are without those of the headers.
``ids`` is a CSV whose films are called by names, so that each gets an id of ours. Prints a table in
Markdown; each count in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.base.errors import run_script
from common.base.files import ROOT, atomic_write

COUNTS = (1000, 10_000, 100_000, 1_000_000)
LAYOUTS = ("csv", "rsna", "nih", "ids")
MAX_CPU_S, MAX_GIB = 60, 1.2
"""What a million films may take."""

_PER_PATIENT, _PER_FOLDER, _PER_SHARD = 4, 1000, 512
# One film of so many equals the one before it.
_EQUAL = 1000
_FILM_BYTES = 120_000
_HEADS: Mapping[str, str] = {
    "csv": "image_path,label,patient",
    "ids": "image_path,label,patient",
    "rsna": "patientId,x,y,width,height,Target",
    "nih": "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    "View Position",
}
_TABLES: Mapping[str, str] = {
    **dict.fromkeys(("csv", "ids"), "images.csv"),
    **{"rsna": "stage_2_train_labels.csv", "nih": "Data_Entry_2017.csv"},
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--counts", nargs="+", type=int, default=list(COUNTS), help="numbers of films")
    add("--layouts", nargs="+", choices=LAYOUTS, default=["csv"], help="how the films lie")
    add("--work", type=Path, default=ROOT / "data" / "synthetic" / "benchmarks")
    add("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        return
    print("| layout | films | CPU, s | GiB at the peak |\n|---|---|---|---|", flush=True)
    for layout in arguments.layouts:
        for count in arguments.counts:
            source = make_set(arguments.work / f"table-{layout}-{count}", layout, count)
            command = [sys.executable, "-m", "benchmarks.large_table", "--prepare", str(source)]
            done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            seconds, gib = done.stdout.splitlines()[-1].split()
            print(f"| {layout} | {count:,} | {seconds} | {gib} |", flush=True)
    print(f"\nof a million: at most {MAX_CPU_S} s, {MAX_GIB} GiB")


def make_set(folder: Path, layout: str, count: int) -> Path:
    """A dataset without pixels, made once: its table, and a file of the right size for each film.

    Args:
        folder: Where.
        layout: One of `LAYOUTS`.
        count: The number of films.
    """
    table = folder / _TABLES[layout]
    if table.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_write(table) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"{_HEADS[layout]}\n")
        for number in range(count):
            name = _name(layout, number)
            place = _folder(layout, number)
            film = folder / place / name
            if not number % _PER_FOLDER:
                film.parent.mkdir(parents=True, exist_ok=True)
            _make_film(film, number)
            file.write(f"{_line(layout, f'{place}/{name}', number)}\n")
    return folder


def _name(layout: str, number: int) -> str:
    patient, film = divmod(number, _PER_PATIENT)
    if layout == "ids":
        return f"Doe_{patient:06d}_{film}.png"
    if layout == "rsna":
        digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}.png"
    return f"{patient + 1:08d}_{film:03d}.png"


def _folder(layout: str, number: int) -> str:
    if layout == "rsna":
        return "stage_2_train_images"
    return f"images_{number // _PER_FOLDER:03d}{'/images' * (layout == 'nih')}"


def _make_film(film: Path, number: int) -> None:
    """A hole of the right size; a picture where another film is equal to it."""
    content = b""
    if number % _EQUAL in (0, 1):
        grey = np.random.default_rng(number // _EQUAL).integers(0, 256, (16, 16))
        picture = io.BytesIO()
        Image.fromarray(grey.astype(np.uint8)).save(picture, "PNG")
        content = picture.getvalue()
    with open(film, "wb") as file:
        file.write(content)
        file.truncate(len(content) or _FILM_BYTES)


def _line(layout: str, path: str, number: int) -> str:
    """A row of the table; a quarter of the patients is ill."""
    patient = number // _PER_PATIENT
    is_ill = not patient % 4
    if layout == "rsna":
        box = "100.0,120.0,300.0,400.0" if is_ill else ",,,"
        return f"{Path(path).stem},{box},{int(is_ill)}"
    if layout == "nih":
        finding = "Effusion|Mass" if is_ill else "No Finding"
        rest = f"0,{patient + 1},{20 + patient % 60:03d}Y,{'MF'[patient % 2]},PA"
        return f"{Path(path).name},{finding},{rest}"
    return f"{path},{'pneumonia' if is_ill else 'normal'},{patient}"


def prepare(source: Path) -> None:
    """Prepare a set, with what needs pixels made up, and print CPU seconds and GiB.

    Args:
        source: From `make_set`.
    """
    from common.base.progress import progress
    from common.datasets import images
    from common.records import findings
    from common.records import shards as records
    from pneumonia_classification import dataset
    from pneumonia_classification.config import PrepareSettings

    made_up_seconds = 0.0

    def read(_function: Callable[..., Any], files: Sequence[str], *_: Any, **__: Any) -> list[Any]:
        nonlocal made_up_seconds
        began = time.process_time()
        headers = list(progress(map(_header, files), total=len(files)))
        made_up_seconds += time.process_time() - began
        return headers

    names: dict[str, list[str]] = {}

    def write(_folder: Path, cases: Sequence[Mapping[str, Any]], *_: Any) -> tuple[Any, Any]:
        for case in cases:
            names.setdefault(case["split"], []).append(case["case"])
        return {split: list(_shards(split, len(own))) for split, own in names.items()}, {}

    def texts(_folder: Path, shards: Mapping[str, Any], *_: Any) -> dict[str, list[str]]:
        cases = [name for split in shards for name in names[split]]
        return {
            "case": cases,
            "sha256": [f"{number:064x}" for number in range(len(cases))],
            "perceptual": [f"{number:016x}" for number in range(len(cases))],
            "acquisition": [""] * len(cases),
        }

    made_up: tuple[tuple[Any, str, Any], ...] = (
        (images, "each", read),
        (findings, "write_shards", write),
        (records, "read_texts", texts),
    )
    for module, name, function in made_up:
        setattr(module, name, function)
    folder = source.with_name(f"{source.name}-prepared")
    shutil.rmtree(folder, ignore_errors=True)
    dataset.prepare(PrepareSettings(source=source, prepared=folder, copies=0))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(own.ru_utime + own.ru_stime for own in usage)
    print(f"{seconds - made_up_seconds:.1f} {usage[0].ru_maxrss / 2**20:.2f}")


def _header(file: str) -> tuple[Any, Any]:
    """What a film's file would say, by its name: view, sex, age, one of three sizes, a digest."""
    from common.imaging.dicom import Header
    from common.imaging.stored_films import Stored

    film = Path(file)
    digest = hashlib.md5(film.name.encode(), usedforsecurity=False)
    number = int.from_bytes(digest.digest()[:4])
    rows, columns = ((2048, 2500), (2500, 2048), (2992, 2991))[number % 3]
    view, sex = ("PA", "AP")[number // 3 % 2], ("F", "M")[number // 6 % 2]
    header = Header(rows, columns, "", view, sex, 20.0 + number % 60, (0.14, 0.14))
    data = digest.hexdigest()
    if film.stat().st_size < _FILM_BYTES:
        data = hashlib.md5(film.read_bytes(), usedforsecurity=False).hexdigest()
        header = Header(16, 16, "", view, sex, 20.0 + number % 60, None)
    return header, Stored(f"{header.rows} x {header.columns}", "picture", data)


def _shards(split: str, count: int) -> Iterator[dict[str, Any]]:
    for number, start in enumerate(range(0, count, _PER_SHARD)):
        members = min(_PER_SHARD, count - start)
        size = {"records": members, "bytes": members * 20_000, "sha256": "0" * 64}
        yield {"file": f"{split}-{number:05d}.tfrecord", **size, "left_out": {}}


if __name__ == "__main__":
    run_script(main)
