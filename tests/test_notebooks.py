"""The notebooks: valid, with their outputs, of commands that are taken; they run to the end."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from tests.helpers.scripts import PROJECTS, ROOT
from tests.test_docs import SCRIPTS, assert_taken

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 1_000_000
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[str]:
    book = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


def shell_lines(code: str) -> list[str]:
    return [line[1:] for line in code.splitlines() if line.startswith("!")]


def python_of(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.startswith("!"))


def commands(path: Path) -> list[list[str]]:
    """All commands of a notebook: of its code cells, and those that its text proposes."""
    lines = [line for code in cells(path, "code") for line in shell_lines(code)]
    for text in cells(path, "markdown"):
        for block in re.findall(r"^```\n(.*?)^```$", text + "\n", re.MULTILINE | re.DOTALL):
            lines += block.splitlines()
    return [shlex.split(line) for line in lines]


def test_a_notebook_a_project():
    scripts = {command[2] for path in NOTEBOOKS for command in commands(path)}
    assert {f"{project}.{script}" for project in PROJECTS for script in SCRIPTS} <= scripts


@each_notebook
def test_a_notebook_is_valid(path):
    book = json.loads(path.read_text())
    assert set(book) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in book["cells"]:
        assert all(isinstance(line, str) for line in cell["source"])
        assert cell["cell_type"] in ("code", "markdown")
        assert cell["metadata"] == {}


@each_notebook
def test_a_notebook_carries_its_outputs_and_is_small(path):
    assert path.stat().st_size < MAX_BYTES, "run make notebooks"
    ran = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    [setup] = [cell for cell in ran if "REPOSITORY" in "".join(cell["source"])]
    assert (setup["outputs"], setup["execution_count"]) == ([], None)
    ran.remove(setup)
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    outputs = [output for cell in ran for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in ran)
    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert len(shown) >= 4 and set(shown) <= {"image/png", "image/gif"}
    printed = "".join("".join(output.get("text", ())) for output in outputs)
    assert "SYNTHETIC sample" in printed and "1 of 1 files predicted" in printed


@each_notebook
def test_the_outputs_name_no_path_of_a_machine_and_nothing_of_a_terminal(path):
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            text = "".join(output.get("text", ()))
            assert not re.search(r"(^|[\s'\"=(])(/|~|[A-Z]:\\)\w", text, re.MULTILINE)
            assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


@each_notebook
def test_a_notebooks_cells_parse_and_its_commands_are_taken(path):
    for code in cells(path, "code"):
        ast.parse(python_of(code))
    for command in commands(path):
        assert_taken(path, command)
    for page in re.findall(r"`(docs/[^`]+)`", "".join(cells(path, "markdown"))):
        assert (ROOT / page).is_file(), page


def setup_of(path: Path) -> str:
    [setup] = [code for code in cells(path, "code") if "REPOSITORY" in code]
    return setup


@each_notebook
def test_a_notebook_outside_a_clone_asks_for_the_address_in_one_line(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", setup_of(path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("REPOSITORY is empty: ")
    assert len(done.stderr.splitlines()) == 1


@each_notebook
def test_a_notebook_clones_the_repository_and_installs_its_requirements(path, tmp_path):
    origin = tmp_path / "origin"
    (origin / "common").mkdir(parents=True)
    (origin / "common" / "results.py").touch()
    (origin / "requirements.txt").write_text("./not-there\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=origin, check=True)
    setup = setup_of(path).replace('REPOSITORY = ""', f'REPOSITORY = "file://{origin}"')
    outside = tmp_path / "outside"
    outside.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", setup], cwd=outside, capture_output=True, text=True
    )
    assert (outside / "keras-medical-imaging" / "common" / "results.py").is_file()
    assert "not-there" in done.stderr  # pip was asked for what the clone requires


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the notebooks run: in one folder, for the films are two notebooks' sample."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs_from_top_to_bottom(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shown = show_in_place_of_jupyter(monkeypatch)
    names: dict[str, Any] = {}
    for code in cells(path, "code"):
        if code == setup_of(path):
            continue
        exec(compile(python_of(code), path.name, "exec"), names)
        for line in shell_lines(code):
            line = re.sub(r"\{(\w+)\}", lambda of: str(names[of[1]]), line)
            done = subprocess.run(line, shell=True, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    work = folder / names["WORK"]
    assert (work / "run" / "evaluation" / "test" / "report.html").is_file()
    assert len((work / "predictions" / "predictions.csv").read_text().splitlines()) == 2
    assert len(shown) >= 4


def show_in_place_of_jupyter(monkeypatch) -> list[Path]:
    """Jupyter's display for a test without a screen: pictures are decoded, and listed."""
    shown = []

    def open_picture(filename: str) -> Path:
        with Image.open(filename) as picture:
            picture.load()
        return Path(filename)

    display = ModuleType("IPython.display")
    display.Image, display.display = open_picture, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown
