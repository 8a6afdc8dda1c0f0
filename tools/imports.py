"""The files of this repository that its scripts import, read from their source.

    python3 tools/imports.py PROJECT/train.py PROJECT/evaluate.py

prints one line per file, ``SCRIPT:FILE``, which the Makefile reads before anything is installed:
so this module needs the standard library alone, and imports nothing of what it reads about.
"""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository; a package of its own is a folder there with an ``__init__.py``."""

_BLOCKS = {"body", "orelse", "handlers", "finalbody", "cases"}
_NAME = re.compile(r"^(?:async )?(?:def|class) (\w+)", re.MULTILINE)
_FROM_ROOT = re.compile(r'\bROOT((?: / "[\w.-]+")+)$', re.MULTILINE)
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Part:
    """A function or class of a module, or all else that stands in it."""

    name: str
    """Empty for what runs as soon as the module is imported."""
    words: frozenset[str]
    """Every name of a part, of any module, in its source outside imports."""
    imports: frozenset[str]
    """The files that it imports, wherever in it."""


def files_for(script: str) -> set[str]:
    """Every file of this repository that a script comes to import, or reads next to one of those.

    What a function imports counts where its name occurs in what counts already of its module or of
    those that import it: so preparing does not hang on the losses, though both use the module that
    names them.

    Args:
        script: A file's path from the repository's root; so are the paths that are returned.
    """
    words: dict[str, frozenset[str]] = {script: frozenset([""])}
    waiting = {script}
    while waiting:
        importer = waiting.pop()
        known, imports = _used(importer, words[importer])
        for file in imports:
            if not known <= words.get(file, frozenset()):
                words[file] = known | words.get(file, frozenset())
                waiting.add(file)
    # The module in a project's folder that leads its scripts to common/.
    own = ROOT / Path(script).parent / "common.py"
    shim = {own.relative_to(ROOT).as_posix()} if own.is_file() else set()
    return set(words).union(shim, *map(_resources, words))


@cache
def _used(file: str, words: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The words of a module's parts that these words name, with these, and what they import."""
    imports: frozenset[str] = frozenset()
    unused = parts(file)
    while used := [part for part in unused if part.name in words]:
        unused = [part for part in unused if part.name not in words]
        words = words.union(*(part.words for part in used))
        imports = imports.union(*(part.imports for part in used))
    return words, imports


@cache
def parts(file: str, type_checking: bool = False) -> list[Part]:
    """A module's parts.

    Args:
        file: The module's path from the repository's root.
        type_checking: Count also what is imported ``if TYPE_CHECKING``, which never runs.
    """
    text = _text(file)
    lines = text.split("\n")
    nodes_by_name: dict[str, list[ast.stmt]] = {}
    for node in ast.parse(text, file).body:
        decorated = getattr(node, "decorator_list", None)
        nodes_by_name.setdefault("" if decorated else getattr(node, "name", ""), []).append(node)
    return [
        Part(
            name,
            _words(lines, nodes),
            frozenset().union(*(_files(file, n) for n in _import_statements(nodes, type_checking))),
        )
        for name, nodes in nodes_by_name.items()
    ]


def _words(lines: list[str], nodes: list[ast.stmt]) -> frozenset[str]:
    """The words of statements, their decorators' too; to import a name is no use of it."""
    imports = list(_import_statements(nodes, True))
    imported = {number for node in imports for number in _line_numbers(node)}
    numbers = {number for node in nodes for number in _line_numbers(node)} - imported
    renamed = {alias.name for node in imports for alias in node.names if alias.asname}
    text = "\n".join(lines[number - 1] for number in numbers)
    return _names().intersection(renamed.union(_WORD.findall(text)))


@cache
def _names() -> frozenset[str]:
    """The names of all parts, of any module."""
    files = [file for init in ROOT.glob("*/__init__.py") for file in init.parent.rglob("*.py")]
    return frozenset().union(*(_NAME.findall(file.read_text(encoding="utf-8")) for file in files))


def _line_numbers(node: ast.stmt) -> range:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return range(first, (node.end_lineno or first) + 1)


def _files(file: str, node: ast.Import | ast.ImportFrom) -> frozenset[str]:
    """The files that a statement of a file imports, packages' ``__init__.py`` with them."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        package = file.split("/")[: -node.level] if node.level else []
        module = ".".join([*package, *([node.module] if node.module else [])])
        names = [f"{module}.{alias.name}" for alias in node.names]
    return frozenset().union(*map(_module_files, names))


def _import_statements(
    body: list[ast.stmt], type_checking: bool
) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports among statements and those within them; no expression holds one."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        for block in _BLOCKS.intersection(node._fields):
            guarded = block == "body" and isinstance(node, ast.If) and _guards_types(node.test)
            if type_checking or not guarded:
                yield from _import_statements(getattr(node, block), type_checking)


def _guards_types(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


@cache
def _module_files(name: str) -> frozenset[str]:
    """The files of a dotted name, from its outermost package on; none for another's package."""
    parts = name.split(".")
    if not (ROOT / parts[0] / "__init__.py").is_file():
        return frozenset()
    paths = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    files = [f"{path}{ending}" for path in paths for ending in (".py", "/__init__.py")]
    return frozenset(file for file in files if (ROOT / file).is_file())


@cache
def _resources(file: str) -> frozenset[str]:
    """The files that are no modules and that a module names, alone or by folder.

    They lie next to it, or it names them from the root: ``ROOT / "data" / "lists"``.
    """
    text = _text(file)
    paths = [path for path in _no_modules((ROOT / file).parent) if f'"{path.name}"' in text]
    for named in _FROM_ROOT.findall(text):
        path = ROOT.joinpath(*re.findall(r'"([^"]+)"', named))
        # Not a folder of datasets or of runs.
        if path.is_file() or (path.is_dir() and all(each.is_file() for each in path.iterdir())):
            paths.append(path)
    files = [entry for path in paths for entry in ([path] if path.is_file() else path.iterdir())]
    return frozenset(entry.relative_to(ROOT).as_posix() for entry in files)


@cache
def _no_modules(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix != ".py" and path.name != "__pycache__" and not list(path.glob("*.py"))
    ]


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


if __name__ == "__main__":
    # make waits for this, and a fifth of the time would go into collecting garbage.
    gc.disable()
    # All or nothing: make must not take half of the list for the whole.
    pairs = [(script, file) for script in sys.argv[1:] for file in sorted(files_for(script))]
    print("\n".join(f"{script}:{file}" for script, file in pairs))
