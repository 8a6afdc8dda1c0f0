"""What cases and files are called: by their paths on the screen, by ids in what is written.

A case whose id names nobody (`common.datasets.published`) keeps it; all others get one of ours
(`common.datasets.ids`) as soon as they are listed, so that nothing after it can write a name.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from common.base.errors import UnusableError, UserError
from common.datasets.ids import IdTable
from common.datasets.patients import NAMED
from common.datasets.published import is_public, is_public_path, without_slices
from common.imaging.image_files import as_text

PATHS = ("path", "mask_path")
"""The columns of a table of cases that hold paths, from the dataset's folder."""


class Names:
    """The names of a dataset's cases and files.

    Args:
        source: The dataset's folder.
        folder: The folder that is written.
        given: The table of ids that the user named, if any.

    Attributes:
        patients_key: What tells the key of the hashes of patients whom the data calls by a name;
            "" where it calls nobody so.
    """

    def __init__(self, source: Path, folder: Path, given: Path | None) -> None:
        self.source, self.patients_key = source, ""
        self._table = IdTable(given, folder)
        # By a name or a path, what is written in its place; by that, what the screen shows.
        self._written: dict[str, str] = {}
        self._screen: dict[str, str] = {}
        # The names by a word in each that few others are filed under, so that a text is not held
        # against all.
        self._by_word: dict[str, list[str]] = {}

    @property
    def key_id(self) -> str:
        """What tells the key of the ids; "" where none was needed."""
        return self._table.key_id[:20] if self._table.is_used else ""

    def name_cases(self, cases: pd.DataFrame) -> None:
        """Give the cases of a table the ids that may be written, in place.

        Args:
            cases: With ``case``, ``path``, ``patient``, ``patient_hash``, ``left_out`` and, of
                volumes, ``mask_path``. The paths stay those of the files.
        """
        # An array of texts gives one after the other slowly, so it is asked for objects.
        names = cases["case"].to_numpy(object).tolist()
        files = list(zip(names, cases["path"].to_numpy(object), strict=True))
        hidden = [(name, path or name) for name, path in files if not is_public(name)]
        ids = dict(zip(next(zip(*hidden, strict=True), ()), self._ids(hidden), strict=True))
        named = cases["case"].isin(cases.attrs.pop(NAMED, ()))
        own = cases["patient"] == cases["case"]
        cases["case"] = [ids.get(name, name) for name in names]
        cases["patient"] = cases["patient"].mask(own, cases["case"])
        if named.any():
            self._table.ids_of(self.source, [])  # for its key
            self.patients_key = self.key_id
            hashes = cases["patient_hash"]
            cases["patient_hash"] = hashes.mask(named, hashes.map(self._keyed))
        for column in filter(cases.__contains__, PATHS):
            columns = cases["case"], cases[column]
            for case, path in zip(*(part.to_numpy(object) for part in columns), strict=True):
                if path and not is_public_path(path):
                    self._hide(path, case, path)
                    if not is_public(file := PurePosixPath(path).name):
                        self._hide(file, case, path)
        for name, path in hidden:
            self._hide(name, ids[name], path)
        cases["left_out"] = cases["left_out"].map(functools.cache(self.text))

    def written_path(self, path: str, case: str) -> str:
        """A path of `name_cases` as it may be written: the case, where it has names."""
        return case if path in self._written else path

    def name_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with the ids of cases, or with their names, as its index: with ids alone."""
        table = table.rename(index=self._written)
        return table[~table.index.duplicated()]

    def text(self, text: str) -> str:
        """A text without the dataset's folder, and with ids for the names in it."""
        text = text.replace(f"{self.source}{os.sep}", "")
        words = {"", *_words(text)}
        likely = {name for word in words for name in self._by_word.get(word, ())}
        for name in sorted(filter(text.__contains__, likely), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", self._written[name], text)
        return text

    def places(self, places: Iterable[str]) -> list[str]:
        """Cases, files and tables as they may be written, in order."""
        places = list(places)
        unknown = [
            place
            for place in dict.fromkeys(places)
            if not (place in self._screen or place in self._written or is_public_path(place))
        ]
        for place, own in zip(unknown, self._ids([(p, p) for p in unknown]), strict=True):
            self._hide(place, own, place)
        return [self._written.get(place, place) for place in places]

    def on_screen(self, case: str) -> str:
        """A case as the screen shows it: the path of its file, where its id does not say."""
        return ascii(as_text(self._screen.get(case, case)))[1:-1]

    def _hide(self, name: str, own: str, display: str) -> None:
        forms = {name, as_text(name)}
        forms |= {ascii(form)[1:-1] for form in forms}
        for form in forms:
            if form not in self._written:
                rarest = min(_words(form), key=self._filed_under, default="")
                self._by_word.setdefault(rarest, []).append(form)
            self._written[form] = own
        self._screen[own] = display

    def _filed_under(self, word: str) -> tuple[int, int]:
        """How many names are filed under a word; of equal ones the longest comes first."""
        return len(self._by_word.get(word, ())), -len(word)

    def _ids(self, files: list[tuple[str, str]]) -> list[str]:
        return self._table.ids_of(self.source, files) if files else []

    def _keyed(self, digest: str) -> str:
        return self._table.keyed(f"patient {digest}")[:20] if digest else ""


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def decode_unnamed(
    decode: Callable[[Mapping[str, Any]], Mapping[str, Any]], source: Path, case: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Decode a case; what is wrong with it does not say where the dataset lies, nor a name.

    Args:
        decode: As for `common.records.shards.write_shards`.
        source: The dataset's folder.
        case: A job.
    """
    try:
        return decode(case)
    except UnusableError as error:
        raise UnusableError(_without_paths(str(error), source, case), error.check) from None
    except UserError as error:
        raise UserError(_without_paths(str(error), source, case)) from None


def _without_paths(text: str, source: Path, case: Mapping[str, Any]) -> str:
    text = text.replace(f"{source}{os.sep}", "")
    for column in PATHS:
        path = case.get(column) or ""
        if path and not is_public_path(path):
            name = f"{case['case']}{', its mask' if column != PATHS[0] else ''}"
            # Of a volume, perhaps one of its slices.
            text = re.sub(re.escape(path) + r"(/[^:\n]*)?", name, text)
        text = without_slices(text, source / path)
    return text
