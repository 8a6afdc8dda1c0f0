"""The site that `make docs` makes of the pages: every page is in it, and a broken link fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import needs
from tests.helpers.scripts import ROOT

PAGES = [
    page.relative_to(ROOT).as_posix()
    for glob in ("*.md", "[!.]*/README.md", "docs/*.md", "third_party/*/README.md")
    for page in ROOT.glob(glob)
]


def make_docs(folder: Path) -> subprocess.CompletedProcess:
    """Run ``make docs`` in a folder, in the environment of this test."""
    ready = [f"{sys.prefix}/.installed", f"{sys.prefix}/.installed-dev"]
    environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", "docs", f"VENV={sys.prefix}", *(word for file in ready for word in ("-o", file))],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture
def pages(tmp_path) -> Iterator[Path]:
    """The pages alone, and what makes a site of them."""
    needs.package("zensical")
    needs.program("make")
    for name in [*PAGES, "Makefile", "zensical.toml", "LICENSE", "CITATION.cff", "Dockerfile"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ["docs/pictures", "notebooks", "tests/golden"]:
        shutil.copytree(ROOT / name, tmp_path / name)
    yield tmp_path
    # The site's search.json bears the name of a format of ours, and is none.
    shutil.rmtree(tmp_path / "build", ignore_errors=True)


def test_the_menu_names_every_page():
    text = (ROOT / "zensical.toml").read_text()
    named = re.findall(r'"([\w/.-]+\.md)"', text)
    assert sorted(named) == sorted({*PAGES, "tests/golden/README.md"})
    assert tomllib.loads(text)["project"]["theme"]["font"] is False, "asks another host"


@pytest.mark.slow
def test_every_page_is_in_the_site_and_asks_no_other_host(pages):
    done = make_docs(pages)
    assert done.returncode == 0, done.stdout + done.stderr
    site = pages / "build/site"
    for name in PAGES:
        page = site / name.removesuffix(".md").removesuffix("README") / "index.html"
        text = page.read_text()
        assert not re.findall(r"""(?:src|<link[^>]* href)=["']?(?:https?:)?//""", text), name
    assert (site / "docs/pictures/sample.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "link"),
    [("docs/guide.md", "nowhere.md"), ("README.md", "docs/guide.md#nothing")],
)
def test_a_broken_link_fails(pages, page, link):
    with open(pages / page, "a") as file:
        file.write(f"\n[a link]({link})\n")
    done = make_docs(pages)
    assert done.returncode != 0
    assert re.search("does not exist", done.stdout + done.stderr)
