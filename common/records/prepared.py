"""A prepared folder, opened and held against its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.errors import UserError
from common.base.files import content_key, read_json, sha256
from common.datasets.patients import BY_IMAGE, FEW

if TYPE_CHECKING:
    import pandas as pd

UNFINISHED = "unfinished.json"
"""The file of a folder whose preparation did not end."""

_REMEDY = "start the same prepare_data.py again, which writes anew what is damaged and no more"


@dataclass(frozen=True)
class Prepared:
    """A folder that prepare_data.py wrote.

    Attributes:
        folder: Where it is.
        manifest: The content of ``manifest.json``.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """The hash of the names and hashes of all shards."""
        shards = [(shard["file"], shard["sha256"]) for shard in all_shards(self.manifest)]
        return hashlib.sha256(json.dumps(sorted(shards)).encode()).hexdigest()

    @property
    def patients_known(self) -> bool:
        """Whether it is known who is on every image."""
        return not self.split_warning or bool(self.manifest.get("patients_known"))

    @property
    def split_warning(self) -> str:
        """Why scores on its splits may be too good, in words; "" for no reason."""
        if "split_warning" in self.manifest:
            return str(self.manifest["split_warning"])
        # Of an earlier version, which did not ask: one image per patient is no sign of patients.
        usable = self.cases().query("left_out == ''")
        if usable["patient"].is_unique and len(usable) > FEW:
            return f"patients unknown (each of {len(usable)} images has one of its own): {BY_IMAGE}"
        return ""

    @property
    def splits(self) -> list[str]:
        """The names of the splits that hold cases."""
        return list(self.manifest["shards"])

    def count(self, splits: Sequence[str]) -> int:
        """The number of records in some splits."""
        return sum(shard["records"] for shard in self._entries(splits))

    def shards(self, splits: Sequence[str]) -> list[Path]:
        """The files of some splits, each checked against its size and SHA-256.

        Raises:
            UserError: A file is missing, cut or altered.
        """
        return [
            _checked(self.folder / "records" / shard["file"], shard)
            for shard in self._entries(splits)
        ]

    def holding(self, splits: Sequence[str], records: range | None) -> tuple[list[Path], range]:
        """The files that hold some records of some splits, checked as `shards` are; no others.

        Args:
            splits: Which.
            records: Numbers from 0, in the order of the splits and their files; None for all.

        Returns:
            The files, and the records' numbers in these.
        """
        records = range(self.count(splits)) if records is None else records
        files, before, end = [], 0, 0
        for shard in self._entries(splits):
            start, end = end, end + shard["records"]
            if end <= records.start:
                before = end
            elif start < records.stop:
                files.append(_checked(self.folder / "records" / shard["file"], shard))
        return files, range(records.start - before, records.stop - before)

    def _entries(self, splits: Sequence[str]) -> Iterator[dict[str, Any]]:
        return chain.from_iterable(self.manifest["shards"].get(split, []) for split in splits)

    def cases(self) -> pd.DataFrame:
        """Every case: ``case``, ``patient``, ``split``, ``left_out`` and the project's columns."""
        # Takes a while to load, which --help and a refusal need not.
        import pandas as pd

        path = self.folder / "cases.csv"
        for table in self.manifest.get("tables", []):
            if table["file"] == path.name:
                _checked(path, table)
        try:
            text = ["case", "patient", "split", "left_out", "view", "sex", "duplicate_of"]
            text += ["part", "patient_hash", "sha256", "perceptual"]
            # A column may be empty throughout.
            text += ["boxes", "finding", "official_split"]
            # Labels that come side by side are text, and "" for none.
            text += [] if self.manifest.get("exclusive", True) else ["label"]
            # A case may be called NA.
            cases = pd.read_csv(
                path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=["", "nan"]
            ).fillna(dict.fromkeys(text[2:], ""))
        except (OSError, ValueError):
            raise UserError(f"{path}: cannot be read; {_REMEDY}") from None
        # Cases of before splits had parts.
        return cases if "part" in cases else cases.assign(part="")


def open_prepared(folder: Path, project: str) -> Prepared:
    """Open a prepared folder.

    Raises:
        UserError: It is missing, not finished, damaged, or another project's.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; make it with prepare_data.py")
    if not (folder / "manifest.json").exists():
        remedy = "start the same prepare_data.py again, it goes on from here"
        if not (folder / UNFINISHED).exists():
            remedy = "name a folder that prepare_data.py wrote"
        raise UserError(f"{folder}: holds no manifest.json; {remedy}")
    manifest = read_json(folder / "manifest.json")
    if not _is_whole(manifest):
        raise UserError(f"{folder}/manifest.json: is damaged; prepare again with --overwrite")
    if manifest["project"] != project:
        raise UserError(f"{folder}: was prepared for {manifest['project']}, not for {project}")
    return Prepared(folder, manifest)


def all_shards(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a manifest's shards, whatever their split."""
    return list(chain.from_iterable(manifest["shards"].values()))


def measured(path: Path) -> dict[str, Any]:
    """A file's ``bytes`` and ``sha256``."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def fault(path: Path, expected: Mapping[str, Any]) -> str:
    """The fault of a file, compared with its size and SHA-256; "" for none."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != expected["bytes"]:
        return f"has {path.stat().st_size} bytes, not {expected['bytes']}"
    return "" if sha256(path) == expected["sha256"] else "was altered: its SHA-256 is another"


def _checked(path: Path, expected: Mapping[str, Any]) -> Path:
    if what := fault(path, expected):
        raise UserError(f"{path}: {what}; {_REMEDY}")
    return path


def _is_whole(manifest: Any) -> bool:
    """Whether a manifest is as `finish` wrote it; those of older versions have no seal."""
    if not isinstance(manifest, dict) or not {"project", "shards", "key"} <= set(manifest):
        return False
    content = {name: value for name, value in manifest.items() if name != "seal"}
    return "seal" not in manifest or manifest["seal"] == content_key(content)
