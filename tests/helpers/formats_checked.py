"""After every test, each versioned file in its tmp_path is held against its JSON Schema.

A test that writes a damaged one on purpose bears the mark ``damaged``.
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from common.base.formats import VERSIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def formats_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Validates what a test left in its folder."""
    # Asked for here, the folder is removed after what follows the yield.
    uses_it = "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if uses_it else None
    yield
    if folder is not None and request.node.get_closest_marker("damaged") is None:
        check_folder(folder)


def check_folder(folder: Path) -> None:
    """Fail at the first file under a folder that is not as its schema says."""
    for path in sorted(folder.rglob("*")):
        if path.name in VERSIONS and path.is_file():
            faults = faults_in(path)
            assert not faults, f"{path}: {'; '.join(faults)}"


def faults_in(path: Path) -> list[str]:
    """What a file's schema finds wrong with it: the common one, of metrics the project's too."""
    try:
        content = _content(path)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return ["is cut or no such file"]
    schemas = [ROOT / "common" / "base" / "schemas" / f"{path.stem}.schema.json"]
    if path.name == "metrics.json" and "schema_version" in content:
        schemas.append(ROOT / str(content.get("project")) / "metrics.schema.json")
    return [fault for schema in schemas if schema.exists() for fault in faults_of(schema, content)]


def faults_of(schema: Path, content: Any) -> list[str]:
    """Where and how content differs from a schema."""
    errors = _validator(schema).iter_errors(content)
    return [f"{error.json_path} {error.message[:200]} ({schema.name})" for error in errors]


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with np.load(path, allow_pickle=False) as saved:
        return json.loads(bytes(saved["state"]))


@functools.cache
def _validator(schema: Path) -> Draft202012Validator:
    content = json.loads(schema.read_text())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)
