"""Every name that a test or a tool imports is there, also where it does so within a function.

A slow test, or a benchmark that no test runs, else tells of a name that was moved a day later.
"""

import ast
import importlib
from importlib.util import find_spec

import pytest

from tests.helpers.scripts import ROOT

OWN = (
    *("common", "pneumonia_classification", "heart_detection", "atrium_segmentation"),
    *("data", "synthetic_sample", "tests", "benchmarks", "tools", "docs"),
)
FILES = sorted(
    path
    for folder in ("tests", "benchmarks", "tools", "docs")
    for path in ROOT.glob(f"{folder}/**/*.py")
)


def is_package(module):
    return hasattr(module, "__path__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_what_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
            module = importlib.import_module(str(node.module))
            for name in node.names:
                is_module = find_spec(f"{node.module}.{name.name}") if is_package(module) else None
                assert hasattr(module, name.name) or is_module, f"line {node.lineno}: {name.name}"
