"""A folder of films in any known layout to a table of cases: ``--layout``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from common.base.errors import UserError
from common.datasets.class_folders import (
    class_folders,
    index_folders,
    refuse_doubtful_classes,
    split_folders,
)
from common.datasets.class_names import is_class
from common.datasets.csv_tables import first_rows, list_csv, list_names, named_file, read_csv
from common.datasets.image_table import (
    LABEL,
    PATH,
    find_tables,
    index_csv,
    naming_films,
    refuse_unread_tables,
)
from common.datasets.nih import TABLES as NIH_TABLES
from common.datasets.nih import index_nih
from common.datasets.patient_folders import refuse_patient_folders
from common.datasets.rsna import IMAGE_FOLDERS, TEST_FOLDERS, find_labels, index_pneumonia
from common.datasets.rsna import LABELS as RSNA_TABLES
from common.datasets.wrong_folder import FILMS, holds_dataset, refuse_wrong_folder
from common.imaging.image_files import holds_films, is_output, stem

AUTO, RSNA, NIH, FOLDERS, CSV = "auto", "rsna", "nih", "folders", "csv"
LAYOUTS = (AUTO, RSNA, NIH, FOLDERS, CSV)
"""The values of --layout."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        RSNA: "RSNA Pneumonia Detection Challenge",
        NIH: "NIH ChestX-ray14",
        FOLDERS: "folders by class",
        CSV: "a CSV of image_path and label",
    }
)
"""The layouts in words."""


# Endings of tables that are not read.
_OTHER_TABLES = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".parquet", ".feather", ".dta")


def index_films(
    source: Path,
    patients: Path | None = None,
    layout: str = AUTO,
    pattern: str = "",
    positive: str = "",
) -> pd.DataFrame:
    """List the films of a folder with their labels.

    Args:
        source: The folder.
        patients: The file that says whose each film is, if any.
        layout: One of `LAYOUTS`; auto looks (`layout_of`), and refuses what may be two.
        pattern: As of `common.datasets.images.patient_in_name`.
        positive: The class with number 1, as of `class_names.numbered_classes` and
            `common.datasets.nih.index_nih`.

    Returns:
        As of the layout's own function; ``.attrs["layout"]`` is the layout.

    Raises:
        UserError: The folder is in no known layout, or something in it is wrong.
    """
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    chosen = layout_of(source) if layout == AUTO else layout
    if layout == AUTO and chosen in (FOLDERS, ""):
        if not chosen:
            refuse_wrong_folder(source, FILMS)
        if not is_output(source):
            refuse_unread_tables(source, patients)
        if not chosen:
            films = {own.name for own in class_folders(source) if holds_films(own.folder)}
            chosen = FOLDERS if films - {*IMAGE_FOLDERS, *TEST_FOLDERS} else RSNA
            if chosen == RSNA and holds_films(source):
                _refuse_without_labels(source)
        if chosen == FOLDERS:
            refuse_doubtful_classes(source)
            refuse_patient_folders(source)
    if chosen == RSNA:
        frame = index_pneumonia(source, patients, pattern)
    else:
        index = {NIH: index_nih, FOLDERS: index_folders, CSV: index_csv}[chosen]
        frame = index(source, patients, pattern, positive)
    frame.attrs["layout"] = chosen
    return frame


def layout_of(source: Path) -> str:
    """The layout of a folder, by its tables and folders; "" where nothing tells."""
    if find_labels(source):
        return RSNA
    if named_file(source, NIH_TABLES):
        return NIH
    is_above = holds_dataset(source)
    is_sorted = bool(split_folders(source)) or (len(_classes(source)) > 1 and not is_above)
    if tables := find_tables(source):
        # What was prepared holds such a table too, and is rarely meant as a source.
        if is_output(source):
            return ""
        if not (is_sorted or is_above) or naming_films(source, tables):
            return CSV
    return FOLDERS if is_sorted else ""


def _refuse_without_labels(source: Path) -> None:
    """Raise the `UserError` of films without labels: the table that is not read, or what is."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    tables = [path for path in files if path.suffix.lower() in _OTHER_TABLES]
    tables += [path for path in files if path.suffix.lower() == ".txt" and _names_films(path)]
    mend = f"as a CSV file with the columns {PATH} and {LABEL}"
    if tables:
        names = " and ".join(ascii(path.name)[1:-1] for path in tables[:3])
        raise UserError(f"{source}: the labels may be in {names}, no CSV; save them {mend}")
    for file in list_csv(source):
        if not first_rows(file, [PATH, LABEL]):
            read_csv(file, [PATH, LABEL])  # refuses, and says what is wrong with it
    raise UserError(
        f"{source}: holds films and no labels; expected a folder for each class, the table of a "
        f"known dataset ({RSNA_TABLES[0]}, {NIH_TABLES[0]}), or the labels {mend} "
        f"(data/README.md); found {list_names(source)}"
    )


def _names_films(file: Path) -> bool:
    """Whether most lines of a text name a film, by the ending of a word."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[:100]
    except OSError:
        return False
    naming = [line for line in lines if any(stem(word) != word for word in line.split())]
    return len(naming) * 2 > len(lines)


def _classes(source: Path) -> set[str]:
    """The folders of a folder that may be classes: they are called so, and films are in them."""
    folders = class_folders(source)
    return {own.name for own in folders if is_class(own.name) and holds_films(own.folder)}
