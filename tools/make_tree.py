"""Write the tree at the end of README.md: one line per file, with the first line of its docstring.

python tools/make_tree.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
ROOMS = (
    "base",
    "imaging",
    "datasets",
    "records",
    "models",
    "training",
    "explaining",
    "scores",
    "reporting",
    "prediction",
)
"""The packages of ``common/``; each imports only from those before it."""

SHOWN, *ALIKE = ("heart_detection", "pneumonia_classification", "atrium_segmentation")
TEXTS = {
    "docs": "Pages for users, and the programs that draw their pictures.",
    "notebooks": "Each project step by step, for Jupyter or Colab.",
    "tests": "The tests, in the same rooms; helpers/ for fixtures, tools/ for programs.",
    "third_party": "Small shields of pinned packages, and of what names them.",
    "common/base/schemas": "JSON Schemas of the files that are read again.",
    "common/reporting/templates": "The pages, their style and their script.",
    ".github": "Forms for issues, and the workflow for lint, types and tests.",
    "CHANGELOG.md": "What a user notices of each change.",
    "CITATION.cff": "How to cite this repository.",
    "CONTRIBUTING.md": "A contributor's day: set up, test, add a network, a dataset, a project.",
    "Dockerfile": "An image with everything in it, for a CPU or a card.",
    "Makefile": "What `make` can do; `make` alone lists it.",
    "pyproject.toml": "The settings of the tools, and of the package.",
    "requirements.lock": "The same and what it brings, hashed; requirements-cuda.lock for a card.",
    "zensical.toml": "The site that `make docs` makes of the pages.",
    "requirements.txt": "What everything needs, pinned; -cpu.txt: no card, -dev.txt: tests.",
}
"""What is no module has no docstring."""


def tree() -> str:
    """The repository as a text, what is imported above what imports it."""
    lines = [_line("common", 0)]
    for room in ROOMS:
        lines += _folder(f"common/{room}", 1)
    lines += _modules("common", 1)
    for package in ("synthetic_sample", "data"):
        lines += [_line(package, 0), *_modules(package, 1)]
    lines += _folder(SHOWN, 0)
    files = _names(SHOWN)
    for project in ALIKE:
        more = sorted(_names(project) - files)
        missing = "".join(f", without {name}" for name in sorted(files - _names(project)))
        lines.append(_line(project, 0) + f" The same files{missing}{', and:' if more else '.'}")
        lines += [_line(f"{project}/{name}", 1) for name in more]
    lines += [_line(name, 0) for name in ("benchmarks", "tools", *TEXTS) if "/" not in name]
    return "\n".join(lines) + "\n"


def _folder(folder: str, depth: int) -> Iterator[str]:
    yield _line(folder, depth)
    yield from _modules(folder, depth + 1)
    yield from (_line(path, depth + 1) for path in TEXTS if path.startswith(f"{folder}/"))


def _modules(folder: str, depth: int) -> list[str]:
    return [_line(f"{folder}/{name}", depth) for name in sorted(_names(folder))]


def _names(folder: str) -> set[str]:
    return {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}


def _line(path: str, depth: int) -> str:
    file = ROOT / path
    name = f"{'  ' * depth}{file.name}{'/' if file.is_dir() else ''}"
    module = file / "__init__.py" if file.is_dir() else file
    text = TEXTS.get(path) or ast.get_docstring(ast.parse(module.read_text())) or ""
    return f"{name:26} {text.splitlines()[0]}"


def with_tree(page: str) -> str:
    """README.md with the tree of today in its last block."""
    head, _, _ = page.rpartition("```\n")
    head, fence, _ = head.rpartition("```\n")
    return f"{head}{fence}{tree()}```\n"


if __name__ == "__main__":
    README.write_text(with_tree(README.read_text()))
