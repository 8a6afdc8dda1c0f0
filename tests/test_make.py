"""Which steps of the demo a change repeats: what `make -n demo` would do in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import needs
from tests.helpers.scripts import (
    FIRST_PROJECT_FAST,
    PROJECTS,
    ROOT,
    TINY_DATA,
    Whole,
    run_alone,
)

SCRIPTS = ("prepare_data", "train", "evaluate")
STEPS = {"preparing": "prepare_data", "training": "train", "evaluating": "evaluate"}
PRODUCTS = {
    "prepare_data": "data/prepared/SYNTHETIC-{}/manifest.json",
    "train": "runs/SYNTHETIC-demo/{}/fitted.json",
    "evaluate": "runs/SYNTHETIC-demo/{}/evaluation/test/metrics.json",
}
PROGRAM = [sys.executable, "tools/imports.py"]

# What runs before a script: it notes every module that runs and every other file that is opened.
SITECUSTOMIZE = """
import os, sys

def note(event, arguments):
    if event == "exec":
        name = getattr(arguments[0], "co_filename", "")
    elif event == "open" and isinstance(arguments[0], str):
        name = arguments[0]
    else:
        return
    if (event == "exec") == name.endswith(".py") and not name.endswith(".pyc"):
        os.write(noted, (os.path.abspath(name) + "\\n").encode())

noted = os.open(os.environ["NOTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def imports() -> dict[tuple[str, str], set[str]]:
    """The files of each step, by project and script."""
    scripts = [f"{project}/{script}.py" for project in PROJECTS for script in SCRIPTS]
    printed = subprocess.run(
        [*PROGRAM, *scripts], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    files: dict[tuple[str, str], set[str]] = {}
    for line in printed.splitlines():
        script, _, file = line.partition(":")
        project, name = script.removesuffix(".py").split("/")
        files.setdefault((project, name), set()).add(file)
    return files


class Tree:
    """A copy of the packages, in which the demo has been made, and all files have one age."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for init in ROOT.glob("*/__init__.py"):
            # data/ may hold datasets, and steps use its lists alone.
            for path in init.parent.rglob("*") if init.parent.name != "data" else []:
                if path.suffix in {".py", ".css", ".j2", ".js", ".json"}:
                    self.copy(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "data/lists").glob("*.csv"):
            self.copy(path.relative_to(ROOT).as_posix())
        self.copy("requirements.txt")
        self.copy("pyproject.toml")
        self.copy("Makefile")
        for name in [".venv/bin/pip", ".venv/.installed"]:
            self.write(name, at=1)
        for n, name in enumerate(PRODUCTS.values()):
            for project in PROJECTS:
                self.write(name.format(project), at=100 + n)

    def copy(self, name: str) -> None:
        if (ROOT / name).is_file():
            self.write(name, (ROOT / name).read_bytes(), at=2)

    def write(self, name: str, content: bytes = b"", at: int = 0) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (at, at))

    def steps_after(self, *changed: str, python: str = sys.executable) -> set[tuple[str, str]]:
        """The steps, by project and script, that a change of these files repeats."""
        environment = {key: text for key, text in os.environ.items() if not key.startswith("MAKE")}
        for name in changed:
            os.utime(self.folder / name, (1000, 1000))
        done = subprocess.run(
            ["make", "-n", "demo", f"PYTHON={python}", "VENV=.venv"],
            cwd=self.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        for name in changed:
            os.utime(self.folder / name, (2, 2))
        assert done.returncode == 0, done.stderr
        steps = re.findall(r'echo "== (\w+): (\w+)"', done.stdout)
        return {(project, STEPS[step]) for project, step in steps}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    needs.program("make")
    return Tree(tmp_path_factory.mktemp("tree"))


def all_steps(*scripts: str) -> set[tuple[str, str]]:
    return {(project, script) for project in PROJECTS for script in scripts}


def steps_from(project: str, script: str) -> set[tuple[str, str]]:
    return {(project, later) for later in SCRIPTS[SCRIPTS.index(script) :]}


# --- what make does -------------------------------------------------------------------------------


@pytest.mark.slow
def test_any_file_that_a_step_imports_repeats_it_and_the_later_ones(tree, imports):
    # The list of imports is printed from a file here, so that a hundred calls take seconds.
    lines = [f"{project}/{name}.py:{file}" for (project, name) in imports
             for file in imports[project, name]]  # fmt: skip
    tree.write("printed", "\n".join(lines).encode())
    tree.write("python", b"#!/bin/sh\ncat printed\n")
    (tree.folder / "python").chmod(0o755)
    for file in sorted(set().union(*imports.values())):
        expected = set().union(*(steps_from(*step) for step in imports if file in imports[step]))
        assert tree.steps_after(file, python="./python") == expected, file


@pytest.mark.parametrize(
    ("changed", "repeated"),
    [
        ((), set()),
        (("common/compare.py", "common/export.py", "common/prediction/inputs.py"), set()),
        (("heart_detection/predict.py", "benchmarks/table.py", "README.md"), set()),
        (("synthetic_sample/film.py",), all_steps(*SCRIPTS)),
        (("common/records/shards.py",), all_steps(*SCRIPTS)),
        (("common/training/losses.py",), all_steps("train", "evaluate")),
        (("common/scores/boxes.py",), steps_from("heart_detection", "train")),
        (("common/reporting/templates/page.css",), all_steps("evaluate")),
        (("heart_detection/config.py",), steps_from("heart_detection", "prepare_data")),
        (("heart_detection/train.py",), steps_from("heart_detection", "train")),
        (("heart_detection/evaluate.py",), {("heart_detection", "evaluate")}),
        (("heart_detection/inference.py",), {("heart_detection", "evaluate")}),
        (("atrium_segmentation/slices.py",), steps_from("atrium_segmentation", "train")),
        (("atrium_segmentation/scores.py",), {("atrium_segmentation", "evaluate")}),
        (("atrium_segmentation/networks.py",), steps_from("atrium_segmentation", "prepare_data")),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_a_change_repeats(tree, changed, repeated):
    if "README.md" in changed:
        tree.copy("README.md")
    assert tree.steps_after(*changed) == repeated


@pytest.mark.damaged
def test_a_module_that_cannot_be_read_stops_make_and_is_named(tmp_path):
    tree = Tree(tmp_path)
    tree.write("heart_detection/inference.py", b"def broken(:\n")
    done = subprocess.run(
        ["make", "-n", "demo", f"PYTHON={sys.executable}", "VENV=.venv"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "heart_detection/inference.py" in done.stderr
    assert "cannot read what the steps import" in done.stderr


# --- what the program gives -----------------------------------------------------------------------

MODULES = {
    "common/losses.py": "def dice(): ...",
    "common/slow.py": "def wait(): ...",
    "common/names.py": "def loss():\n    from common.losses import dice\n    return dice()\n",
    "project/imports.py": "from common.names import loss\n",
    "project/within.py": "def build():\n    from common.names import (\n        loss,\n    )\n"
    "build()\n",
    "project/uses.py": "from common.names import loss\nprint(loss())\n",
    "project/attribute.py": "import common.names as names\nprint(names.loss())\n",
    "project/renames.py": "from common.names import loss as smallest\nprint(smallest())\n",
    "project/decorates.py": "def timed(function):\n    from common.slow import wait\n"
    "    return wait()\n@timed\ndef main(): ...\n",
}


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("imports", []),
        ("within", []),
        ("uses", ["common/losses.py"]),
        ("attribute", ["common/losses.py"]),
        ("renames", ["common/losses.py"]),
        ("decorates", ["common/slow.py"]),
    ],
)
def test_what_a_function_imports_counts_where_it_is_used_not_where_it_is_imported(
    tmp_path, script, files
):
    for name in ["common/__init__.py", "project/__init__.py", *MODULES]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(MODULES.get(name, ""))
    (tmp_path / "tools").mkdir()
    program = shutil.copy(ROOT / PROGRAM[1], tmp_path / "tools")
    printed = subprocess.run(
        [sys.executable, program, f"project/{script}.py"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    always = {"common/__init__.py", "common/names.py", f"project/{script}.py"}
    lines = printed.splitlines()
    assert sorted({line.partition(":")[2] for line in lines} - always) == files


# --- what the scripts do --------------------------------------------------------------------------


def noted_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *command: object) -> set[str]:
    """The files of this repository's packages that a script ran or opened, its processes too."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site/sitecustomize.py").write_text(SITECUSTOMIZE)
    (tmp_path / "noted").unlink(missing_ok=True)
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    project, script, *arguments = command
    # A fork has run files of the tests before it.
    run_alone(str(project), str(script), *arguments)
    names = set((tmp_path / "noted").read_text().splitlines())
    files = {Path(name).relative_to(ROOT) for name in names if Path(name).is_relative_to(ROOT)}
    return {file.as_posix() for file in files if (ROOT / file.parts[0] / "__init__.py").exists()
            and (ROOT / file).is_file()}  # fmt: skip


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_preparing_runs_and_opens_no_file_that_is_not_given(
    project, imports, samples, tmp_path, monkeypatch
):
    noted = noted_by(
        tmp_path, monkeypatch, project, "prepare_data", "--preset", "demo",
        "--source", samples[project], "--prepared", tmp_path / "prepared", *TINY_DATA[project],
    )  # fmt: skip
    assert f"{project}/dataset.py" in noted
    assert noted <= imports[project, "prepare_data"]


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_a_training_and_an_evaluation_open_no_file_that_is_not_given(
    project, imports, whole, tmp_path, monkeypatch
):
    once: Whole = whole(project)
    command = once.training(1)
    command[command.index(once.run)] = tmp_path / "run"
    noted = noted_by(tmp_path, monkeypatch, project, "train", *command)
    assert "common/training/fitting.py" in noted
    assert noted <= imports[project, "train"]
    noted = noted_by(tmp_path, monkeypatch, project, "evaluate", "--run", tmp_path / "run")
    assert "common/reporting/templates/report.html.j2" in noted
    assert noted <= imports[project, "evaluate"]
