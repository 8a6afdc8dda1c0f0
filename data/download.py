"""Download a dataset and unpack it to where prepare_data.py looks for it.

    python -m data.download task02_heart
    python -m data.download kermany --accept --to /large/disk

Size, version and terms are shown first, and asked for unless --accept is given. An interrupted
download goes on with the same command. What is there already is never replaced.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

import pooch

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.base.files import ROOT, atomic_write, lock_folder
from common.base.files import sha256 as sha256_of
from data.kaggle import from_kaggle
from data.sources import DATASETS, Dataset
from data.transfer import Transfer
from data.unpack import unpack

ARCHIVES = "downloads"
"""The folder of what is downloaded, in that of the datasets."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Show a dataset's size and terms, then download, check and unpack it."""
    names = "\n".join(f"  {data.name:14}{data.title}; {_size(data)}" for data in DATASETS.values())
    parser = Parser("data.download", f"{__doc__}\ndatasets:\n{names}")
    parser.add_argument("dataset", choices=sorted(DATASETS), metavar="DATASET", help="one of these")
    parser.add_argument(
        "--accept", action="store_true", help="the terms are accepted: ask for nothing"
    )
    parser.add_argument(
        "--to", type=Path, default=ROOT / "data" / "raw", metavar="FOLDER",
        help="the folder of the datasets, each in a folder of its own there (data/raw)",
    )  # fmt: skip
    parser.add_argument(
        "--archive", type=Path, metavar="FILE", help="the file, fetched by other means already"
    )
    parser.add_argument(
        "--from", type=_address, metavar="URL", dest="url",
        help="another address of the same file",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    dataset = DATASETS[given.dataset]
    dataset = dataset.at(given.url) if given.url else dataset
    print_terms(dataset)
    if not given.accept:
        accept(dataset)
    folder = fetch(dataset, given.to, given.archive)
    print(f"\nnext: python {dataset.project}/prepare_data.py --source {folder}")


def fetch(dataset: Dataset, to: Path, archive: Path | None = None) -> Path:
    """Have a dataset in a folder of datasets.

    Args:
        dataset: Which.
        to: The folder of datasets.
        archive: The file, where it is there already: it is checked, unpacked and kept.

    Returns:
        The dataset's folder, as ``prepare_data.py`` reads it.

    Raises:
        UserError: It can't be had, is not what it should be, or does not fit.
    """
    folder = to / dataset.folder
    with lock_folder(to / ARCHIVES):
        if archive is not None:
            _check(dataset, archive)
        elif dataset.competition and not dataset.url:
            from_kaggle(dataset, folder)
            return folder
        else:
            archive = _download(dataset, to / ARCHIVES)
        if dataset.needs:
            unpack(archive, folder, dataset.needs)
            print(f"{archive}: is unpacked")
        else:
            _place(archive, folder / dataset.file)
    return folder


def print_terms(dataset: Dataset) -> None:
    """Print what a dataset is, how large, of which version and under which terms."""
    unpacked = f", about {dataset.unpacked / 1e6:,.0f} MB unpacked" if dataset.unpacked else ""
    rows = {
        "dataset": dataset.title,
        "version": dataset.version,
        "size": f"{_size(dataset)}{unpacked}",
        "from": dataset.url or dataset.page,
        "page": dataset.page,
        "checksum": dataset.hash or "none is published; its SHA-256 is printed",
        "terms": dataset.terms,
    }
    print("\n".join(f"  {name:10}{text}" for name, text in rows.items()))


def accept(dataset: Dataset) -> None:
    """Ask whether the terms are accepted.

    Raises:
        UserError: They are not, or nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise UserError(
            f"{dataset.name}: nobody is there to accept its terms; read them above, and give "
            "--accept"
        )
    if input("Are these terms accepted? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError(f"{dataset.name}: its terms are not accepted, so nothing is downloaded")


def _size(dataset: Dataset) -> str:
    """The size of what is downloaded, in words."""
    if not dataset.size:
        return "a few MB"
    # Without a hash it is what was seen once.
    about = "" if dataset.hash else "about "
    is_small = dataset.size < 1_000_000
    return about + (
        f"{dataset.size / 1e3:,.0f} kB" if is_small else f"{dataset.size / 1e6:,.0f} MB"
    )


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ArgumentTypeError("expected an address that begins with https:// or http://")
    return text


def _download(dataset: Dataset, folder: Path) -> Path:
    """The dataset's file in the folder of downloads: there already, or downloaded."""
    pooch.get_logger().setLevel("WARNING")
    # pooch's temporary file of a process that was killed; ours, which goes on, has another name.
    for path in folder.glob("tmp????????"):
        if path.stat().st_size == 0:
            path.unlink()
    file = folder / dataset.file
    is_there = file.exists()
    # A size without a hash is what was seen once: it is shown, and another is no fault.
    transfer = Transfer(file, dataset.size if dataset.hash else 0, dataset.unpacked)
    try:
        dataset.registered(folder).fetch(dataset.file, downloader=transfer)
    except ValueError:  # pooch's, of a hash
        if is_there:
            raise UserError(
                f"{file}: is there already, and its checksum is not {dataset.hash}; it stays as it "
                "is: move it away and start the same command again"
            ) from None
        raise UserError(
            f"{dataset.url}: what came has another checksum than {dataset.hash}, and was not kept; "
            "start the same command again, and if it happens twice, see the dataset's page"
        ) from None
    if is_there and dataset.hash and dataset.hash_is_published:
        print(f"{file}: is there already, whole")
    _check(dataset, file, is_checked=True)
    return file


def _check(dataset: Dataset, file: Path, is_checked: bool = False) -> None:
    """Hold a file against what is known of the dataset.

    Args:
        dataset: Which.
        file: Its file.
        is_checked: Whether pooch has held it against a published hash already.

    Raises:
        UserError: It is not there, or not that of the published hash.
    """
    if not file.is_file():
        raise UserError(f"{file}: there is no such file; give --archive the downloaded file")
    if not dataset.hash:
        print(f"{file}: sha256 {sha256_of(file)}; none is published to hold it against")
    elif not dataset.hash_is_published or not is_checked:
        kind, _, expected = dataset.hash.partition(":")
        actual = pooch.file_hash(str(file), alg=kind)
        if actual == expected:
            return
        if dataset.hash_is_published:
            raise UserError(
                f"{file}: has the {kind} {actual}, and {expected} is published; fetch it again"
            )
        print(
            f"WARNING: {file.name} has the {kind} {actual}; the copy that was seen once had "
            f"{expected}. Its publisher may have changed it."
        )


def _place(file: Path, target: Path) -> None:
    """Copy a table to where it is read; one that is there already must be equal."""
    if target.exists():
        if sha256_of(target) != sha256_of(file):
            raise UserError(
                f"{target}: is there already with other content, and stays as it is; move it away "
                "and start the same command again"
            )
        return
    with atomic_write(target) as temporary:
        shutil.copyfile(file, temporary)


if __name__ == "__main__":
    run_script(main)
