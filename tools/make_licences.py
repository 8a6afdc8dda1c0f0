"""Write the tables of dependencies and their licences into docs/licences.md.

    python tools/make_licences.py

What requirements.txt and the extras of pyproject.toml ask for, and what comes with it, is looked up
in the metadata of the environment that runs this (PyPA's core metadata: License-Expression, else
the classifiers, else License). A licence stands in the words of its package.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
UNSAID = "its metadata names none"
# Words of a License field that are the text itself, not its name.
_MAX_NAME = 40
_BLOCK = re.compile(r"(<!-- (asked for|brought) -->\n).*?(<!-- end -->)", re.DOTALL)


def asked_for() -> dict[str, tuple[str, str]]:
    """The pin of each package that this repository names, and where it does."""
    project = _project(ROOT)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    sources: dict[str, Iterable[str]] = {
        "requirements.txt": [line for line in lines if re.match(r"[\w-]+==", line)],
        "pyproject.toml": project.get("dependencies", []),
    }
    extras = project["optional-dependencies"].items()
    sources |= {f"the extra {extra}": requirements for extra, requirements in extras}
    pins: dict[str, tuple[str, str]] = {}
    for source, requirements in sources.items():
        for requirement in map(Requirement, requirements):
            if canonicalize_name(requirement.name) in _own():
                continue
            pins.setdefault(requirement.name, (str(requirement.specifier)[2:], source))
    return pins


def brought(names: Iterable[str]) -> dict[str, str]:
    """What is installed because of some packages, and not by itself: by name, what needs it first.

    Args:
        names: The packages.
    """
    waiting = [(name, frozenset[str]()) for name in names]
    known = {*_own(), *(canonicalize_name(name) for name, _ in waiting)}
    parents: dict[str, str] = {}
    for name, extras in waiting:  # grows meanwhile
        for requirement in map(Requirement, metadata.requires(name) or []):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in known and _is_installed(needed):
                known.add(needed)
                parents[metadata.metadata(needed)["Name"]] = name
                waiting.append((needed, frozenset(requirement.extras)))
    return parents


def licence(name: str) -> str:
    """The licence of an installed package, in its own words."""
    fields = metadata.metadata(name).get_all
    expression = " ".join(fields("License-Expression") or [])
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in fields("Classifier") or []
        if line.startswith("License :: ")
    ]
    words = " ".join(fields("License") or []).strip()
    if not re.search(r"[a-z]", words, re.IGNORECASE) or len(words) > _MAX_NAME:
        words = ""
    return expression or ", ".join(classifiers) or words or UNSAID


def with_tables(page: str) -> str:
    """The page with the tables of this environment; a row of what is not installed here stays."""
    pins = asked_for()
    parents = brought(filter(_is_installed, pins))
    rows = {
        "asked for": {
            name: f"| {name} | {version} | {licence(name)} | {source} |"
            for name, (version, source) in pins.items()
            if _is_installed(name)
        },
        "brought": {name: f"| {name} | {licence(name)} | {by} |" for name, by in parents.items()},
    }
    heads = {
        "asked for": "| package | version | licence | named by |\n|---|---|---|---|\n",
        "brought": "| package | licence | needed by, among others |\n|---|---|---|\n",
    }

    def table(block: re.Match[str]) -> str:
        written = _rows(block[0]) | rows[block[2]]
        if block[2] == "asked for":
            written = {name: row for name, row in written.items() if name in pins}
        lines = sorted(written.values(), key=str.casefold)
        return f"{block[1]}{heads[block[2]]}" + "\n".join(lines) + f"\n{block[3]}"

    return _BLOCK.sub(table, page)


def _rows(block: str) -> dict[str, str]:
    """The rows of a table, by package."""
    rows = re.findall(r"^(\| (\S+) \|.*\|)$", block, re.MULTILINE)
    return {name: row for row, name in rows if name != "package"}


def _own() -> set[str]:
    """The names of this repository's packages, among them the shields of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    folders = [ROOT, *(ROOT / line for line in lines if line.startswith("./third_party/"))]
    return {canonicalize_name(_project(folder)["name"]) for folder in folders}


def _project(folder: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return content


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
