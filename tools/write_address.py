"""Write the repository's address, which pyproject.toml has, into the files that need it.

    python tools/write_address.py

``Repository`` of ``[project.urls]`` is the one place for it; without it the files have none.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CITATION = "CITATION.cff"


def address_of(root: Path) -> str:
    """The address of the repository in a folder, "" where it has none."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return str(project.get("urls", {}).get("Repository", ""))


def with_address(name: str, text: str, address: str) -> str:
    """The text of a file with the address: of CITATION.cff, or of a notebook that clones it."""
    if name == CITATION:
        head = re.sub(r"^repository-code: .*\n", "", text, flags=re.MULTILINE)
        return head + (f"repository-code: {address}\n" if address else "")
    return re.sub(r'(REPOSITORY = \\")[^"\\]*', lambda match: match[1] + address, text)


def files_with_address(root: Path) -> list[Path]:
    """The files of a repository that have its address."""
    return [root / CITATION, *sorted((root / "notebooks").glob("*.ipynb"))]


if __name__ == "__main__":
    for file in files_with_address(ROOT):
        file.write_text(with_address(file.name, file.read_text(), address_of(ROOT)))
