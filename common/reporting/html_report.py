"""report.html: an evaluation on one page that opens without a network.

The page holds everything: its style, its script and its pictures, and a Content Security Policy
that lets nothing in from outside. What a file says (a case's name, a setting) is text on it and
never markup: Jinja2 escapes it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from common.base.arguments import Parser
from common.base.errors import UserError
from common.base.files import lock_folder, read_json, remove_partial_files, sha256, write_text
from common.base.printing import counted
from common.base.project import Project
from common.base.settings import SharedEvaluate
from common.base.tables import Table
from common.records.participants import participant_tables, participants_note
from common.reporting.charts import history_picture
from common.reporting.checklist import FILE as CHECKLIST
from common.reporting.checklist import write_checklist
from common.reporting.elsewhere import Elsewhere, elsewhere
from common.reporting.examples import examples_of
from common.reporting.model_card import (
    NOT_FOR,
    SYNTHETIC,
    About,
    display,
    model_card,
    model_hashes,
)
from common.reporting.terms import explained
from common.scores.formatting import is_made_up, of_validation
from common.training.evaluations import doubted_note
from common.training.runs import Run, open_run
from common.training.seen import describe

FILE = "report.html"
MAX_PICTURE_BYTES = 10_500_000
"""Of all pictures of a page; as text they take a third more, so that it stays under 15 MB."""
MAX_CASES = 2000
"""Of the table of cases; the others are in predictions.csv alone."""
FEW = 20
"""Under so many patients, or images where patients are not known, a page begins with a warning."""

_TEMPLATES = Path(__file__).parent / "templates"
_TYPES = {".png": "image/png", ".gif": "image/gif"}
_ON_THE_PAGE = ("Model details", "Evaluation data and scores", "Caveats and recommendations")
"""Sections of the card that the page says in full elsewhere."""


@dataclasses.dataclass(frozen=True)
class Score:
    """A main score between 0 and 1, drawn as a bar next to a trivial baseline.

    Attributes:
        name: Such as "AUROC".
        value: Of the model; None where it is undefined.
        ci95: Its 95 % interval [low, high], or None.
        baseline: Of the baseline, or None.
        baseline_name: What the baseline is.
        difference: ``value`` and ``ci95`` of the model's less the baseline's, paired; None in what
            an earlier version wrote.
        ci95_reason: Why there is no interval, "" where there is one or nobody knows.
    """

    name: str
    value: float | None
    ci95: Sequence[float] | None
    baseline: float | None
    baseline_name: str
    difference: Mapping[str, Any] | None = None
    ci95_reason: str = ""


def page_scores(scores: Mapping[str, Any]) -> tuple[Score, ...]:
    """The ``main_scores`` of an evaluation for a page."""
    names = [field.name for field in dataclasses.fields(Score)]
    return tuple(
        Score(
            **{name: entry.get(name) for name in names}
            | {
                "name": entry.get("title", entry["name"]),
                "ci95_reason": entry.get("ci95_reason", ""),
            }
        )
        for entry in scores["main_scores"]
    )


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        path: A PNG or GIF.
        caption: Stands under it.
        alternative: What it shows, for who cannot see it.
        heading: Pictures in a row with one heading stand under it.
        case: Whose it is, where it is one case's.
        over: A picture of the same size that lies over it; a slider says how much of it.
    """

    path: Path
    caption: str
    alternative: str
    heading: str = ""
    case: str = ""
    over: Picture | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """What a project says of an evaluation.

    Attributes:
        title: Of the page.
        answer: The result in words that a clinician reads, a sentence each.
        scores: The main scores, the first the one that counts.
        charts: Curves and matrices.
        tables: All scores, as they were printed.
        examples: Pictures of cases.
        cases: A row a case, the worst first; what can be sorted and filtered.
        elsewhere: Whether the scores hold elsewhere; None: what all projects say.
    """

    title: str
    answer: tuple[str, ...]
    scores: tuple[Score, ...]
    charts: tuple[Picture, ...]
    tables: tuple[Table, ...]
    examples: tuple[Picture, ...]
    cases: Table
    elsewhere: Elsewhere | None = None


def write_report(run: Run, folder: Path, about: About, page: Page) -> Path:
    """Write ``report.html`` of an evaluation next to its ``metrics.json``; returns the path.

    Args:
        run: Whose evaluation.
        folder: The evaluation's, with ``metrics.json`` and ``predictions.csv``.
        about: What the project says of its models, whose question heads the page.
        page: What it says of this evaluation.
    """
    metrics = read_json(folder / "metrics.json")
    card = model_card(run, about, [metrics])
    anchors = {
        picture.path: f"example-{number}" for number, picture in enumerate(page.examples, start=1)
    }
    path = folder / FILE
    write_text(
        path,
        render(
            "report.html.j2",
            page=page,
            elsewhere=page.elsewhere or elsewhere(run, metrics),
            cases=dataclasses.replace(page.cases, rows=page.cases.rows[:MAX_CASES]),
            metrics=metrics,
            made_up=is_made_up(metrics),
            run_name=run.folder.name,
            terms=explained(page.tables),
            origin=_origin(run, metrics),
            few=few(metrics),
            of_validation=of_validation(metrics),
            about=about,
            not_for=NOT_FOR,
            of_synthetic=SYNTHETIC if run.config["synthetic"] else "",
            verdict=verdict(page.scores[0]),
            seen_cases=describe(metrics.get("seen", {}).get("count", {})),
            pictures=embedded([*page.charts, *page.examples]),
            anchors=anchors,
            links={picture.case: anchors[picture.path] for picture in reversed(page.examples)},
            card=[
                (section, section.table and Table("", section.table[0], section.table[1:]))
                for section in card.sections
                if section.title not in _ON_THE_PAGE
            ],
            participants=participant_tables(metrics),
            participants_note=participants_note(metrics),
            doubted_note=doubted_note(metrics),
            facts=_facts(run, folder, metrics),
        ),
    )
    return path


def write_again(
    project: Project, settings: SharedEvaluate, write_page: Callable[[Run, Path], Path]
) -> None:
    """The script that writes the page of an evaluation again from its files, or its checklists.

    Args:
        project: Whose run it is.
        settings: Any of its evaluate.py.
        write_page: Writes the page of a run's evaluation into its folder.

    Raises:
        UserError: The command line names no evaluation of the project.
    """
    parser = Parser(f"{project.name}.report", "Write report.html of an evaluation again.")
    parser.add_argument("folders", nargs="*", metavar="RUN/evaluation/NAME")
    parser.add_argument(
        "--checklist",
        action="store_true",
        help=f"write {CHECKLIST} in place of the page: CLAIM 2024, and TRIPOD+AI where it asks for "
        "more, filled from the run's files",
    )
    arguments = parser.parse_args()
    folders = arguments.folders
    folder = Path(folders[0] if len(folders) == 1 else "")
    if not (folder / "metrics.json").is_file():
        raise UserError(
            f"{folder}: holds no metrics.json; name one folder, RUN/evaluation/NAME, that "
            "evaluate.py wrote"
        )
    run = open_run(project, dataclasses.replace(settings, run=folder.resolve().parents[1]))
    with lock_folder(folder):
        remove_partial_files(folder)
        print(
            write_checklist(run.folder, folder) if arguments.checklist else write_page(run, folder)
        )


def example_pictures(
    folder: Path,
    metrics: dict[str, Any],
    headings: Mapping[str, str],
    describe: Callable[[str], tuple[str, str]],
) -> tuple[Picture, ...]:
    """The pictures of the cases that were drawn.

    Args:
        folder: The evaluation's.
        metrics: Its ``metrics.json``.
        headings: By the kinds of examples, in the order of the page.
        describe: A case's name to its picture's caption and alternative text.
    """
    return tuple(
        Picture(folder / file, *describe(example.case), heading, example.case)
        for kind, heading in headings.items()
        for example in examples_of(metrics)
        if example.kind == kind
        for file in example.files
    )


def training_picture(run: Run, folder: Path, networks: Mapping[str, Path]) -> Picture:
    """Draw the training of a run's networks, each in a folder with its ``history.csv``."""
    histories: dict[str, Any] = {
        name: pd.read_csv(folder / "history.csv").to_dict("records")
        for name, folder in networks.items()
    }
    monitor = run.config["settings"].get("monitor", "val_loss")
    path = history_picture(folder / "training.png", histories, run.config["synthetic"], monitor)
    score = "lowest" if monitor == "val_loss" else "highest"
    return Picture(
        path,
        f"The training, epoch by epoch; the epoch with the {score} {monitor} is kept.",
        "Loss, metrics and learning rate over the epochs, of training and validation.",
    )


def render(template: str, script_name: str = "page.js", /, **content: Any) -> str:
    """A page from one of this package's templates, with the style of all pages and a script."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = {
        name: (_TEMPLATES / file).read_text(encoding="utf-8")
        for name, file in (("style", "page.css"), ("script", script_name))
    }
    hashes = {f"{name}_hash": _hash(text) for name, text in parts.items()}
    return environment.get_template(template).render(**parts, **hashes, **content)


def _hash(text: str) -> str:
    """What a Content Security Policy says of a text that it lets in."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def embedded(pictures: Sequence[Picture], max_bytes: int = MAX_PICTURE_BYTES) -> dict[Path, Any]:
    """Pictures as data URIs, in their order, as long as there is room.

    Returns:
        By path: ``uri``, ``width``, ``height`` and whether it is ``moving``; pictures for which
        there is no room are not in it.
    """
    embedded_pictures, free_bytes = {}, max_bytes
    both = (part for picture in pictures for part in (picture, picture.over) if part)
    for path in (picture.path for picture in both):
        size = path.stat().st_size
        if size > free_bytes or path in embedded_pictures:
            continue
        free_bytes -= size
        with Image.open(path) as image:
            width, height = image.size
            moving = getattr(image, "n_frames", 1) > 1
        text = base64.b64encode(path.read_bytes()).decode()
        uri = f"data:{_TYPES[path.suffix]};base64,{text}"
        embedded_pictures[path] = {"uri": uri, "width": width, "height": height, "moving": moving}
    return embedded_pictures


def verdict(score: Score) -> str:
    """Whether the main score is shown to be better than its baseline, in a sentence or two.

    By the interval of their difference, since both are estimated on the same cases.
    """
    if score.value is None or score.baseline is None:
        return "With the cases at hand this score is undefined: nothing is shown."
    lacking = score.difference if score.ci95 is not None else vars(score)
    if score.ci95 is None or (score.difference and score.difference["ci95"] is None):
        why = (lacking or {}).get("ci95_reason") or "too few patients"
        return f"There is no interval ({why}): nothing is shown."
    if not score.difference:
        low, high = score.ci95
        words = (
            f"The interval reaches the baseline ({score.baseline_name}): on these cases the model "
            "is not shown to be better."
        )
        if low > score.baseline or high < score.baseline:
            side = "above" if low > score.baseline else "below"
            words = f"The whole interval lies {side} the baseline ({score.baseline_name})."
        return f"{words} The baseline's own uncertainty is not in this."
    low, high = score.difference["ci95"]
    says = "is not shown to differ from"
    if low > 0 or high < 0:
        says = "scores above" if low > 0 else "scores below"
    return (
        f"The model {says} the baseline ({score.baseline_name}): on the same cases the "
        f"difference is {score.difference['value']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}."
    )


def few(metrics: Mapping[str, Any]) -> str:
    """What cannot be concluded from under `FEW` patients; "" of more."""
    is_known = metrics.get("patients_known", True)
    count = metrics["n_patients"] if is_known else metrics["n"]
    if count >= FEW:
        return ""
    return (
        f"Only {counted(count, 'patient' if is_known else 'image')}: from so few it cannot be "
        "concluded how good the model is on others, nor which of two models is the better one. "
        "Look at each case, and score the run on more (evaluate.py --source)."
    )


def _origin(run: Run, metrics: Mapping[str, Any]) -> str:
    """Which run was scored, on what it was trained, when, and with which code."""
    data = ("SYNTHETIC data, " if run.config["synthetic"] else "") + run.config["dataset"]
    commit, _, changed = str(metrics["versions"].get("commit", "unknown")).partition("-")
    return (
        f"Run {run.folder.name}, trained on {data} on {str(run.config['created'])[:10]}, scored on "
        f"{str(metrics['created'])[:10]} with the code of commit {commit[:12]}"
        f"{' and changes to it' if changed else ''}."
    )


def _facts(run: Run, folder: Path, metrics: Mapping[str, Any]) -> dict[str, Table]:
    """Settings, versions and hashes, by title."""
    hashes = model_hashes(run.folder)
    hashes |= {name: sha256(folder / name) for name in ("metrics.json", "predictions.csv")}
    data, versions = run.config["data"], (run.config["versions"], metrics["versions"])
    return {
        "Training": _pairs({"trained": run.config["created"], **run.config["settings"]}),
        "Data": _pairs({"key": data["key"], **data["settings"]}),
        "Evaluation": _pairs({name: metrics[name] for name in ("created", "split", "seed")}),
        "Versions": Table(
            "",
            ("package", "trained with", "evaluated with"),
            tuple((name, *(part.get(name, "") for part in versions)) for name in versions[1]),
        ),
        "SHA-256 of files": _pairs(hashes),
    }


def _pairs(values: Mapping[str, Any]) -> Table:
    return Table(
        "", ("what", "value"), tuple((name, display(value)) for name, value in values.items())
    )
