"""Write docs/folders.md: what is said of each wrong or broken folder, each made to see.

python -m tests.tools.wrong_folders
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common.base.errors import UserError
from common.datasets.layouts import index_films
from common.datasets.wrong_folder import BOXES, VOLUMES, refuse_wrong_folder
from pneumonia_classification.config import PrepareSettings
from pneumonia_classification.dataset import prepare
from tests.helpers.film_folders import film, kaggle, rsna
from tests.helpers.wrong_folders import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "folders.md"
HEAD = """# Wrong and broken folders

Written by `python -m tests.tools.wrong_folders`, which makes every folder and asks `prepare_data.py`;
a test fails where this page is not what it writes. Which layouts are read stands in
[data/README.md](../data/README.md#layouts).

## The wrong folder

Status 2 and one sentence. The folder that is given is `data/raw/mine`, or one in it.

"""  # noqa: E501
SCREENS = """
## The right folder, and something in it is broken

`--check` looks at every file and label, prepares nothing, and writes all that it finds to
`findings.csv`. Checks that found nothing are left off the tables here.
"""
NAME = "data/raw/mine"


def _cut_unzip(folder: Path) -> None:
    rsna(folder, 20)
    for number in range(14):
        (folder / f"images/film-{number:02}.dcm").unlink()


def _odd_files(folder: Path) -> None:
    rsna(folder, 14)
    (folder / "images/film-00.dcm").write_bytes(b"")
    (folder / "images/film-01.dcm").write_bytes(b"<!doctype html><html>Log in</html>")
    (folder / "images/film-02.dcm").rename(folder / "images/FILM-02.dcm")
    (folder / "images/notes.txt").write_text("of the archive")
    (folder / "images/disk-2").symlink_to("nowhere")
    film(folder / "images" / os.fsdecode(b"r\xf6ntgen.dcm"), 77)


def _two_sides(folder: Path) -> None:
    kaggle(folder, 12)
    film(folder / "test" / "PNEUMONIA" / "person1_virus_99.jpeg", 99)


def _no_class(folder: Path) -> None:
    kaggle(folder, 12)
    shutil.rmtree(folder / "test" / "NORMAL")


BROKEN: dict[str, Callable[[Path], None]] = {
    "An unzip that was cut": _cut_unzip,
    "Files of no bytes, a web page, a link that leads nowhere, a name in old bytes, other letters":
        _odd_files,
    "A child on both sides of the official split": _two_sides,
    "A class that the test split lacks": _no_class,
}  # fmt: skip


def rows(folder: Path) -> Iterator[str]:
    """A row for each wrong folder."""
    yield "| what | what is said |"
    yield "|---|---|"
    for number, (name, (make, given, kind, _)) in enumerate(CASES.items()):
        place = folder / str(number)
        make(place)
        try:
            if kind == "films":
                index_films(place / given)
            else:
                refuse_wrong_folder(place / given, {"boxes": BOXES, "volumes": VOLUMES}[kind])
        except UserError as error:
            yield f"| {name} | `error: {str(error).replace(str(place), NAME)}` |"


def screens(folder: Path) -> Iterator[str]:
    """What --check prints last of each broken folder."""
    for number, (name, make) in enumerate(BROKEN.items()):
        source, prepared = folder / f"{number}/data", folder / f"{number}/prepared"
        make(source)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            prepare(
                PrepareSettings(
                    preset="cpu",
                    source=source,
                    prepared=prepared,
                    image_size=32,
                    copies=0,
                    workers=1,
                    check=True,
                )
            )
        text = said.getvalue().replace(str(source), NAME).replace(str(prepared), "data/prepared/p")
        # The search for shortcuts, which comes last, is no part of the check.
        text = re.split(r"\n\n  shortcuts|\n  Whether", text[text.rindex("  check of ") :])[0]
        lines = [line.rstrip() for line in text.splitlines()]
        shown = [line for line in lines if not re.match(r"  [a-zN].*? {2,}0$", line)]
        command = f"python prepare_data.py --check --source {NAME} --prepared data/prepared/p"
        yield "\n".join([f"\n### {name}\n\n```", command, "", *shown, "```"])


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        wrong, broken = "\n".join(rows(folder / "wrong")), "\n".join(screens(folder / "broken"))
    return f"{HEAD}{wrong}\n{SCREENS}{broken}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
