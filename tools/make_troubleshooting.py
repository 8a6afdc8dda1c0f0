"""Write the tables of the scripts' messages into docs/troubleshooting.md.

    python -m tools.make_troubleshooting

Every `UserError` of the code is found in its source, with what stands for certain in its message:
literal text and constants. What differs from case to case is "…".
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from common.base.errors import NO_MEMORY, REMEDIES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
ERRORS = ("UserError", "UnusableError", "NotInstalledError")
DIFFERS = "…"
GROUPS = {
    "common.base": "Any script: settings, files and the machine",
    "common.base.cluster": "Several machines: --cluster",
    "common.base.parts": "A share of the work: --part and common.merge",
    "common.datasets": "prepare_data.py: folders, tables, labels and patients of a dataset",
    "common.imaging": "Any script that reads films or volumes",
    "common.records": "Prepared data",
    "common.models": "train.py: networks and starting weights",
    "common.training": "train.py, evaluate.py and predict.py: runs",
    "common.training.evaluation_parts": "A share of the work: --part and common.merge",
    "common.training.search_space": "common.search",
    "common.training.searching": "common.search",
    "common.explaining": "evaluate.py and predict.py: where a network looks",
    "common.scores": "evaluate.py: scores and reports",
    "common.reporting": "evaluate.py: scores and reports",
    "common.prediction": "predict.py and common.app",
    "common.app": "predict.py and common.app",
    "common.compare": "common.compare, common.ranking and common.results",
    "common.ranking": "common.compare, common.ranking and common.results",
    "common.results": "common.compare, common.ranking and common.results",
    "common.convert_weights": "common.convert_weights",
    "common.export": "common.export",
    "common.merge": "A share of the work: --part and common.merge",
    "common.search": "common.search",
    "pneumonia_classification": "Pneumonia alone",
    "heart_detection": "The heart alone",
    "atrium_segmentation": "The atrium alone",
    "data": "data.download and data.convert",
    "synthetic_sample": "The synthetic sample",
}
"""Where a user meets a module's messages: by its own name, or that of a package around it."""

_BLOCK = re.compile(r"(<!-- messages -->\n).*?(<!-- end -->)", re.DOTALL)


def messages(path: Path) -> Iterator[str]:
    """The messages of a file's errors, in their order; one of which nothing is certain is left out.

    Args:
        path: A Python file of this repository.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    places = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]
    inner = {id(node): place for place in places for node in ast.walk(place)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if isinstance(call.func, ast.Name) and call.func.id in ERRORS:
            for text in _texts(call.args[0], path, inner[id(call)]):
                text = re.sub(rf"{DIFFERS}(\s?{DIFFERS})+", DIFFERS, " ".join(text.split()))
                if re.search(r"[a-z]{2}", _parts(text)[0]):
                    yield text


def _texts(
    node: ast.expr, path: Path, place: ast.AST, seen: frozenset[str] = frozenset()
) -> list[str]:
    """What is certain of an expression in a function or a module; several where it may be each."""

    def together(parts: Iterable[ast.expr]) -> list[str]:
        texts = (_texts(part, path, place, seen) for part in parts)
        return ["".join(chosen) for chosen in itertools.product(*texts)]

    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return together(node.values)
    if isinstance(node, ast.FormattedValue):
        return together([node.value])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return together([node.left, node.right])
    if isinstance(node, ast.Name) and node.id not in seen:
        values = _assigned(place, node.id)
        own = seen | {node.id}
        texts = [text for value in values for text in _texts(value, path, place, own)]
        return texts or _constant(path, node.id)
    return [DIFFERS]


@cache
def _constant(path: Path, name: str) -> list[str]:
    """A constant of a module, or of the one that it is imported from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if values := _assigned(tree, name, deep=False):
        return _texts(values[0], path, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            file = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            names = {alias.asname or alias.name: alias.name for alias in node.names}
            if name in names and file.is_file():
                return _constant(file, names[name])
    return [DIFFERS]


def _assigned(place: ast.AST, name: str, deep: bool = True) -> list[ast.expr]:
    """What is assigned to a name in a function, or at the top of a module."""
    if isinstance(place, ast.Module) and deep:
        return []
    nodes = ast.walk(place) if deep else ast.iter_child_nodes(place)
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and part.id == name
    ]


def group(module: str) -> str:
    """The heading under which a module's messages stand.

    Raises:
        KeyError: No name of `GROUPS` is the module's or that of a package around it.
    """
    while module not in GROUPS:
        if "." not in module:
            raise KeyError(module)
        module = module.rpartition(".")[0]
    return GROUPS[module]


def with_tables(page: str) -> str:
    """The page with the tables of all messages."""
    rows: dict[str, dict[str, None]] = {heading: {} for heading in GROUPS.values()}
    for text in (*REMEDIES.values(), NO_MEMORY):
        rows[GROUPS["common.base"]][_row(text, ": ")] = None
    for top in dict.fromkeys(name.split(".")[0] for name in GROUPS):
        for path in sorted((ROOT / top).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for text in messages(path):
                rows[group(module)][_row(text)] = None
    head = "| it says | what to do |\n|---|---|\n"
    tables = [
        f"### {heading}\n\n{head}" + "\n".join(lines) + "\n"
        for heading, lines in rows.items()
        if lines
    ]
    return _BLOCK.sub(lambda block: block[1] + "\n".join(tables) + block[2], page)


def _parts(text: str, between: str = "; ") -> tuple[str, str]:
    """What a message says, without the file that it begins with, and what to do."""
    says, _, do = text.removeprefix(f"{DIFFERS}: ").partition(between)
    return says, do


def _row(text: str, between: str = "; ") -> str:
    cells = (re.sub(r"([\\`*_<>|\[\]])", r"\\\1", part) for part in _parts(text, between))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
