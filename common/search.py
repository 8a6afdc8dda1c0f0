r"""Search settings of train.py: trials that any number of workers share, in a folder.

A trial is a run with settings of its own, which Optuna suggests from the trials before; its score
is the best --monitor of its validation split. Start the command again to go on, and as often as
you like, on every machine that sees the folder, for as many workers. What follows -- goes to
train.py. Needs pip install -e ".[search]" (docs/cluster.md).

    python -m common.search PROJECT --folder runs/search --trials 20 \
        --over learning_rate=1e-4:1e-2:log --over loss=crossentropy,focal \
        -- --preset cpu --monitor val_auroc
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from common.base.arguments import Parser
from common.base.command_line import given_settings, parse
from common.base.errors import UserError, run_script
from common.base.project import Project
from common.base.settings import SharedTrain
from common.base.tables import MISSING, Table, print_table
from common.records.prepared import open_prepared
from common.training.search_space import Varied, read_space
from common.training.searching import REASON, Plan, Search

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# Settings that the search gives to each trial.
_OWN = ("run",)


def main() -> None:
    """Work on a search until it has ended, and print its trials."""
    arguments, words = _arguments()
    project, script = _project(arguments.project)
    space = read_space(arguments.space, arguments.over, project.train_settings)
    settings = _settings(project, space, words)
    folder = settings.prepared or project.prepared_to_train(settings.preset)
    plan = Plan(project, script, space, words, settings, open_prepared(folder, project.name))
    search = Search(arguments.folder, plan)
    print(f"\nSearch settings of {project.name} for the best {settings.monitor}")
    for entry in space:
        print(f"  {entry.name}: {entry.text}")
    print(f"  each trial's output is in {arguments.folder}{os.sep}trial-NUMBER.log", flush=True)
    search.work(arguments.trials, arguments.failures)
    _print_trials(search)


def _print_trials(search: Search) -> None:
    """Print the trials, the best first, and how to score the best."""
    monitor, space = search.plan.settings.monitor, search.plan.space
    sign = 1 if monitor == "val_loss" else -1
    trials = sorted(
        search.trials, key=lambda t: (t.value is None, sign * (t.value or 0.0), t.number)
    )
    head = ("trial", monitor, *(entry.name for entry in space))
    print_table(Table("", head, tuple(_row(trial, space) for trial in trials)))
    failed = [trial for trial in trials if trial.value is None]
    for trial in failed:
        print(f"  trial {trial.number} failed: {trial.user_attrs.get(REASON, '')}")
    if len(failed) == len(trials):
        raise UserError(f"{search.folder}: all trials failed; start a search in another --folder")
    run = search.run_of(trials[0].number)
    print(
        f"\nthe best is {run}; it was chosen by its {monitor}, which is therefore too good. "
        "Score it once:"
    )
    print(f"  python {os.path.relpath(search.plan.script.parent)}/evaluate.py --run {run}")


def _row(trial: FrozenTrial, space: Sequence[Varied]) -> tuple[str, ...]:
    score = MISSING if trial.value is None else f"{trial.value:.4f}"
    values = (trial.params.get(entry.name, MISSING) for entry in space)
    texts = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
    return (str(trial.number), score, *texts)


def _settings(project: Project, space: list[Varied], words: list[str]) -> SharedTrain:
    """What all trials share, after train.py's own look at each end of what is varied."""
    given = given_settings(project.train_settings, words)
    for name in _OWN:
        if name in given:
            raise UserError(f"--{name}: each trial has its own in --folder; leave it out")
    for entry in space:
        if entry.name in given:
            flag = entry.name.replace("_", "-")
            raise UserError(f"--{flag}: is varied, and given after -- too; leave out one")
    for entry in space:
        for value in entry.ends:
            parse(project, "train", "", [*words, *entry.words(value)])
    settings: SharedTrain = parse(project, "train", "", words)
    return settings


def _project(name: str) -> tuple[Project, Path]:
    """A project and its train.py."""
    name = name.rstrip(os.sep)
    package = find_spec(name) if name.isidentifier() else None
    is_package = package is not None and package.submodule_search_locations
    if not is_package or find_spec(f"{name}.config") is None:
        raise UserError(f"{name}: is no project; name a folder with a config.py and a train.py")
    module = import_module(f"{name}.config")
    project: Project = module.PROJECT
    return project, Path(module.__file__ or "").with_name("train.py")


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    """This command's arguments, and train.py's."""
    parser = Parser("common.search", __doc__)
    parser.add_argument("project", metavar="PROJECT", help="the folder of its scripts")
    parser.add_argument(
        "--folder", required=True, type=Path, metavar="DIR", help="of the trials, for all workers"
    )
    parser.add_argument(
        "--trials", required=True, type=int, metavar="N", help="in all, by all workers"
    )
    parser.add_argument(
        "--over", action="append", default=[], metavar="NAME=BETWEEN",
        help="a setting that is varied: NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C",
    )  # fmt: skip
    parser.add_argument(
        "--space", type=Path, metavar="TOML",
        help='a file of the same: NAME = "LOW:HIGH" or NAME = [A, B]; --over wins',
    )  # fmt: skip
    parser.add_argument(
        "--failures", type=int, default=3, metavar="N",
        help="failed trials in a row that end the search (3)",
    )  # fmt: skip
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:place])
    for name in ("trials", "failures"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name}: give 1 or more")
    return arguments, words[place + 1 :]


if __name__ == "__main__":
    run_script(main)
