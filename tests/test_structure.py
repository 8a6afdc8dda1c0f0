"""What imports what, lazy imports too, and the tree in README.md that says so."""

from __future__ import annotations

import ast
import graphlib
import re
import runpy

import pytest

from tests.helpers.scripts import PROJECTS, ROOT
from tools.imports import parts

README = (ROOT / "README.md").read_text()
TREE = README.split("## The tree")[1]
PACKAGES = re.findall(r"^(\w+)/ ", TREE, re.MULTILINE)
PRODUCT = [name for name in PACKAGES if (ROOT / name / "__init__.py").exists() and name != "tests"]
IN_COMMON = TREE.partition("\ncommon/ ")[2].partition("\nsynthetic_sample/ ")[0]
ROOMS = re.findall(r"^  (\w+)/ ", IN_COMMON, re.MULTILINE)
SCRIPTS = ("prepare_data.py", "train.py", "evaluate.py", "predict.py")
FILES = sorted(
    path.relative_to(ROOT).as_posix() for name in PRODUCT for path in (ROOT / name).rglob("*.py")
)


def imported(file: str) -> set[str]:
    return set().union(*(part.imports for part in parts(file, type_checking=True)))


def room(file: str) -> int:
    """Where a file of common/ stands in the tree: the number of its room, the commands last."""
    _, *folders, name = file.split("/")
    if folders:
        return ROOMS.index(folders[0])
    return -1 if name == "__init__.py" else len(ROOMS)


def fault(file: str, other: str) -> str | None:
    """Why one file may not import another."""
    package, other_package = file.split("/")[0], other.split("/")[0]
    if package == other_package == "common":
        return "stands below" if room(other) > room(file) else None
    # The benchmarks time what the scripts do.
    if other_package in PROJECTS and other.split("/")[-1] in SCRIPTS and package != "benchmarks":
        return "is a script"
    if package == other_package:
        return None
    if package in PROJECTS and other_package in PROJECTS:
        return "is another project's"
    if other_package not in PRODUCT:
        return "is no part of the product"
    if package == "data" and other_package != "common":
        return "is nothing that data needs"
    return "stands below" if PRODUCT.index(other_package) > PRODUCT.index(package) else None


@pytest.mark.parametrize(
    ("file", "other", "expected"),
    [
        ("common/scores/boxes.py", "common/reporting/charts.py", "stands below"),
        ("common/reporting/charts.py", "common/scores/boxes.py", None),
        ("common/reporting/charts.py", "common/results.py", "stands below"),
        ("common/results.py", "common/reporting/charts.py", None),
        ("common/export.py", "heart_detection/inference.py", "stands below"),
        ("common/export.py", "heart_detection/predict.py", "is a script"),
        ("common/base/files.py", "synthetic_sample/film.py", "stands below"),
        ("common/base/files.py", "tests/helpers/scripts.py", "is no part of the product"),
        ("synthetic_sample/film.py", "heart_detection/config.py", "stands below"),
        ("heart_detection/train.py", "synthetic_sample/make_sample.py", None),
        ("heart_detection/train.py", "atrium_segmentation/slices.py", "is another project's"),
        ("heart_detection/train.py", "heart_detection/prepare_data.py", "is a script"),
        ("heart_detection/train.py", "benchmarks/table.py", "stands below"),
    ],
)
def test_the_rule(file, other, expected):
    assert fault(file, other) == expected


def test_lazy_imports_and_those_for_types_are_read():
    files = imported("atrium_segmentation/networks.py") | imported("heart_detection/dataset.py")
    assert "atrium_segmentation/config.py" in files, "if TYPE_CHECKING"
    assert "common/training/augment.py" in files, "within a function"
    assert "common/base/errors.py" in files


def test_every_file_imports_only_from_above_it():
    edges = [(file, other) for file in FILES for other in sorted(imported(file))]
    assert len(edges) > 500
    faults = {f"{file} imports {other}": fault(file, other) for file, other in edges}
    assert not {edge: why for edge, why in faults.items() if why}


def test_no_import_goes_in_a_circle():
    # A package's __init__.py comes with each of its modules, so it is left out.
    modules = [file for file in FILES if not file.endswith("__init__.py")]
    runs = {file: set().union(*(part.imports for part in parts(file))) for file in modules}
    graph = {file: {other for other in others if other in runs} for file, others in runs.items()}
    assert circle_in(graph) == []


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Files of which each imports the next, the first again at the end; [] without a circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_seen():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0] in "abc"


def test_the_tree_names_every_package_of_common():
    folders = {path.parent.name for path in (ROOT / "common").glob("*/__init__.py")}
    assert set(ROOMS) == folders


def test_the_tree_is_what_make_tree_writes():
    program = runpy.run_path(str(ROOT / "tools/make_tree.py"))
    assert program["with_tree"](README) == README, "run python tools/make_tree.py"


# --- names ----------------------------------------------------------------------------------------

PRONOUNS = {"of", "one", "found", "said", "asked", "left", "shown"}


def bound_names(source: str) -> set[str]:
    """Every name that a source binds: variables, parameters, attributes, functions, classes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            names.add(node.name or "")
    return names


def pronouns(source: str) -> set[str]:
    return {name for name in bound_names(source) if name.strip("_") in PRONOUNS}


@pytest.mark.parametrize(
    "source",
    [
        "{} = 1",
        "for n, {} in (): pass",
        "[{} for {} in ()]",
        "self.{} = 1",
        "lambda {}: 1",
        "def f(*, {}=1): pass",
        "def {}(): pass",
        "class _{}: pass",
        "import numpy as {}",
        "with open(name) as {}_: pass",
        "class A:\n    {}: int = 0",
        "({} := 1)",
    ],
)
def test_a_bound_pronoun_is_seen(source):
    assert pronouns(source.replace("{}", "found"))
    assert not pronouns(source.replace("{}", "findings"))


def test_names_are_nouns():
    names = {file: pronouns((ROOT / file).read_text()) for file in FILES}
    assert not {file: sorted(pronouns) for file, pronouns in names.items() if pronouns}
