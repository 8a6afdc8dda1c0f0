"""The commands of the pages, run on the sample; those that cannot be stand in a list with why."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.helpers.scripts import PROJECTS, ROOT, TINY, TINY_DATA, copy_of_tree, copy_run
from tests.test_docs import COMMANDS

PNEUMONIA, HEART, ATRIUM = PROJECTS

ON_SAMPLE = {
    "CONTRIBUTING.md": ["*/prepare_data.py * --check"],
    "README.md": ["python prepare_data.py *", "python train.py", "python evaluate.py",
                  "python predict.py *"],
    "atrium_segmentation/README.md": ["* --prepared prepared*", "* --run run*"],
    "docs/article.md": ["*/prepare_data.py *"],
    "docs/cluster.md": ["* --cluster local:4"],
    "docs/doubts.md": ["*/predict.py *", "*/prepare_data.py *"],
    "docs/guide.md": ["*/prepare_data.py *", "*/train.py *", "*/evaluate.py *",
                      "python -m common.compare *"],
    "docs/intervals.md": ["*/prepare_data.py *"],
    "docs/privacy.md": ["python pre*"],
    "docs/probabilities.md": ["* --prevalence *"],
    "docs/reports.md": ["*"],
    "heart_detection/README.md": ["* --prepared prepared*", "* --run run*"],
    "pneumonia_classification/README.md": ["* --prepared prepared*", "* --run run*", "* folds*",
                                           "* cv/0 *", "*/cv"],
}  # fmt: skip
"""Which of a page's commands run here, in the order of the page; ``*`` stands for anything."""

NOT_RUN = {
    "another test runs what a page of its own says": {
        "docs/your-own.md": ["*"],  # tests/test_your_own.py
        "docs/folders.md": ["*"],  # tests/test_whole_layouts.py, on folders that are wrong
        "docs/app.md": ["*"],  # tests/app/: it serves until it is stopped
        "docs/cluster.md": ["* --part *", "*common.merge*", "*common.search*",
                            "*/evaluate.py --run runs/rsna", "*--hosts*"],
        "docs/guide.md": ["*common.search*"],  # tests/commands/test_search.py
        "README.md": ["make demo"],  # tests/test_make.py
    },
    "needs the network, and terms that are accepted": {
        "README.md": ["*data.download*"],
        "docs/guide.md": ["*data.download*"],
        "docs/weights.md": ["*"],
    },
    "needs a published dataset, as the figures next to it do": {
        "README.md": ["*data.convert*", "* data/raw/la2018 *", "*runs/real/*", "* data/raw/heart *",
                      "* data/prepared/task02*",
                      "*runs/task02*"],
        "*_*/README.md": ["* ../*real/*", "* ../data/prepared/*", "* ../runs/folds*", "*cells*",
                          "*nih*"],
        "docs/experiments.md": ["*"],
        "docs/probabilities.md": ["*runs/real/*", "*make_tables*"],
        "docs/doubts.md": ["python -m benchmarks.*"],
    },
    "needs more patients than the sample has": {
        "docs/probabilities.md": ["* --reject *"],
    },
    "needs a scheduler of dask on other machines": {
        "docs/cluster.md": ["*tcp://*", "*tls://*"],
    },
    "measures for minutes to hours": {
        "docs/article.md": ["python -m benchmarks *"],
        "docs/intervals.md": ["*tests.tools.coverage*"],
        "docs/reliability.md": ["*"],
    },
    "runs the tests, or writes into the repository": {
        "CONTRIBUTING.md": ["make *", "python -m pytest *", "python -m ruff *", "python tools/*",
                            "python -m tools.*"],
        "README.md": ["make test"],
    },
}  # fmt: skip
"""Which do not, by the reason."""

RUNS = {
    "docs/doubts.md": {"runs/my-run": PNEUMONIA},
    "docs/privacy.md": {f"{PNEUMONIA}/runs/my-run": PNEUMONIA},
    "docs/probabilities.md": {"runs/pneumonia": PNEUMONIA},
    "docs/reports.md": {f"runs/SYNTHETIC-demo/{ATRIUM}": ATRIUM},
    "heart_detection/README.md": {f"runs/{PNEUMONIA}/my-run": PNEUMONIA},
}
"""Runs that a page takes for granted."""

SMALLER = {
    "prepare_data": ["--validation-share", "0.2"],
    "train": ["--epochs", "1", "--precision", "float32"],
    "evaluate": ["--pictures", "1"],
    "predict": ["--pictures", "1", "--overwrite"],
}
"""What is added to the scripts' commands, so that they take seconds."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fits(table: dict[str, list[str]], page: str, command: str) -> bool:
    return any(
        fnmatchcase(page, of_page) and fnmatchcase(command, pattern)
        for of_page, patterns in table.items()
        for pattern in patterns
    )


def test_every_command_runs_here_or_stands_in_the_list_with_the_reason():
    elsewhere = {}
    for page, words in COMMANDS:
        of, command = name_of(page), " ".join(words)
        lists = [reason for reason, table in NOT_RUN.items() if fits(table, of, command)]
        lists += ["runs here"] * fits(ON_SAMPLE, of, command)
        if len(lists) != 1:
            elsewhere[f"{of}: {command}"] = lists
    assert elsewhere == {}


def test_every_entry_of_the_lists_is_of_a_command():
    for table in (ON_SAMPLE, *NOT_RUN.values()):
        for page, patterns in table.items():
            for pattern in patterns:
                assert any(
                    fits({page: [pattern]}, name_of(of), " ".join(words)) for of, words in COMMANDS
                ), f"{page}: {pattern}"


@pytest.fixture(scope="module")
def other_films(tmp_path_factory) -> Path:
    """A second hospital's films: a sample of another seed."""
    from synthetic_sample.make_sample import make_sample

    return make_sample(tmp_path_factory.mktemp("other"), 8, 24, 1, ["chest"])["chest"]


@pytest.fixture
def tree(tmp_path, samples, other_films) -> Path:
    """A copy of the repository, with the sample where the pages have their data."""
    tree, home = copy_of_tree(tmp_path / "tree"), tmp_path / "home"
    chest, volumes = samples[PNEUMONIA], samples[ATRIUM]
    places = {
        chest: [tree / "data/raw/rsna-pneumonia", home / "rsna-pneumonia"],
        volumes: [tree / "data/raw/Task02_Heart", home / "Task02_Heart"],
        other_films: [home / "another-hospital"],
    }
    for source, targets in places.items():
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    _hospital(chest, home / "hospital")
    films = sorted((other_films / "stage_2_train_images").iterdir())[:3]
    volume = next((volumes / "imagesTr").glob("*.nii.gz"))
    inputs = {
        home / "new-films": films,
        tree / "films": films,
        tree / PNEUMONIA / "films": films,
        tree / HEART / "films": films,
        tree / ATRIUM / "volumes": [volume],
    }
    for folder, files in inputs.items():
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder)
    return tree


def _hospital(chest: Path, folder: Path) -> None:
    """Films in a folder per label, whose names nobody has published."""
    with open(chest / "stage_2_train_labels.csv", newline="") as file:
        labels = {row["patientId"]: row["Target"] for row in csv.DictReader(file)}
    for number, (case, label) in enumerate(labels.items()):
        place = folder / ("pneumonia" if label == "1" else "healthy")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(chest / "stage_2_train_images" / f"{case}.dcm", place / f"jones-{number}.dcm")


def place_and_words(tree: Path, page: str, words: list[str]) -> tuple[Path, list[str]]:
    """Where a command runs, and its words with what makes it smaller."""
    home = str(tree.parent / "home")
    words = [sys.executable, *(word.replace("~", home) for word in words[1:])]
    if words[1] == "-m":
        return tree, words
    script = Path(words[1])
    project = next((name for name in PROJECTS if name in f"{page} {words[1]}"), PNEUMONIA)
    tiny = {"prepare_data": TINY_DATA, "train": TINY}.get(script.stem, {}).get(project, [])
    if project == ATRIUM and script.stem == "prepare_data":
        tiny = [*tiny, "--test-share", "0.3"]
    place = tree if script.parent.name else tree / project
    return place, [*words, *SMALLER[script.stem], *tiny]


@pytest.mark.slow
@pytest.mark.parametrize("page", ON_SAMPLE)
def test_the_commands_of_a_page_run_on_the_sample_in_their_order(page, tree, whole):
    for place, project in RUNS.get(page, {}).items():
        copy_run(whole(project).run, tree / place)
    environment = {**os.environ, "PYTHONPATH": str(tree), "HOME": str(tree.parent / "home")}
    for of_page, words in COMMANDS:
        if name_of(of_page) == page and fits(ON_SAMPLE, page, " ".join(words)):
            place, command = place_and_words(tree, page, words)
            done = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, timeout=900
            )
            assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
