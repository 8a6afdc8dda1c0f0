"""The versions of the files that are read again: an older one is read, a newer one refused.

A file bears its version as ``schema_version``; one without it is of version 1. A new version adds
keys and never renames one. What each file holds stands in ``common/base/schemas``, and what is a
project's own of metrics.json in ``PROJECT/metrics.schema.json``, as JSON Schemas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.base.errors import UserError

VERSIONS = {
    "manifest.json": 2,
    "config.json": 2,
    "fitted.json": 2,
    "metrics.json": 2,
    "checkpoint.npz": 2,
    "search.json": 1,
}
"""The version of each file, by its name, that this code writes and the newest that it reads."""


def stamp(name: str) -> dict[str, int]:
    """``schema_version``, the first key of a file of this name that is written."""
    return {"schema_version": VERSIONS[name]}


def check_version(path: Path, content: Any) -> None:
    """Refuse what a newer version of this repository wrote.

    Args:
        path: The file. Only those of `VERSIONS` have a version.
        content: What it says, whole or damaged.

    Raises:
        UserError: Its version is above the one that this code knows, or no version.
    """
    if path.name not in VERSIONS or not isinstance(content, dict):
        return
    version = content.get("schema_version", 1)
    if type(version) is not int or version < 1:
        raise UserError(f"{path}: its schema_version is no whole number above 0; make it again")
    if version > VERSIONS[path.name]:
        raise UserError(
            f"{path}: was written by a newer version of this repository (schema_version {version}, "
            f"known up to {VERSIONS[path.name]}); update it"
        )
