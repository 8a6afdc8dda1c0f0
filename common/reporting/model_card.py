"""What a model is, what it is for, how well it did and what that does not show.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting"
(arXiv:1810.03993), filled from the run: its settings, its data and its evaluations. Nothing is
written by hand but what a project says of itself (`About`). Before the text of ``model_card.md``
stands what Hugging Face's Hub reads (`common.reporting.front_matter`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.base.files import read_json, sha256, write_text
from common.base.film_settings import BACKBONES
from common.reporting.elsewhere import card_lines
from common.reporting.front_matter import as_yaml, metadata
from common.scores.formatting import marked_name, of_validation, score_rows, with_interval
from common.training.runs import Run

FILE = "model_card.md"

NOT_FOR = (
    "Not for diagnosis, triage or treatment, and not a medical device: nobody has shown that it "
    "is safe or that it helps a patient, and no authority has cleared it."
)
SYNTHETIC = (
    "Trained on SYNTHETIC data that this repository drew. It stands for no patient, and nothing "
    "that the model says of a real image means anything."
)

Rows = tuple[tuple[str, ...], ...]
"""Of a table, each of equally many cells."""

_NO_SETTING = ("prepared", "run", "preset")
_OF_VALIDATION = "The validation split chose the best epoch, so what is scored on it is too good."


@dataclass(frozen=True)
class About:
    """What a project says of its models, whichever run made them.

    Attributes:
        model: What the network is and what goes into it; NETWORK stands for the run's backbone.
        question: What it answers.
        answer: What comes out, and its unit.
        factors: What its scores may depend on.
        metrics: Why it is scored as it is, and against what.
        caveats: What its scores do not show, a sentence or two each.
        task: What Hugging Face's Hub calls it, such as "image-classification".
        tags: Under which the Hub finds it, besides those of every project.
    """

    model: str
    question: str
    answer: str
    factors: str
    metrics: str
    caveats: tuple[str, ...]
    task: str = "other"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of a card.

    Attributes:
        title: Of Mitchell et al. 2019.
        text: Paragraphs.
        table: Rows of equally many cells under them, the first of them the head; or none.
    """

    title: str
    text: tuple[str, ...] = ()
    table: Rows = ()


@dataclass(frozen=True)
class ModelCard:
    """A card: plain text, for whatever it is shown in, and ``metadata`` for programs."""

    title: str
    synthetic: bool
    sections: tuple[Section, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def model_card(
    run: Run, about: About, evaluations: Sequence[Mapping[str, Any]] | None = None
) -> ModelCard:
    """The card of a run.

    Args:
        run: A run that ended.
        about: What its project says.
        evaluations: Contents of ``metrics.json``, the newest last; default: those in the run.
    """
    if evaluations is None:
        files = run.folder.glob("evaluation/*/metrics.json")
        evaluations = sorted(map(read_json, files), key=lambda metrics: metrics["created"])
    config = run.config
    sections = (
        Section("Model details", (_model(about, config["settings"]),), _details(run)),
        Section(
            "Intended use",
            (
                f"{about.question} {about.answer}",
                "For teaching and research: to learn how such models are built and scored.",
                NOT_FOR,
            ),
        ),
        Section("Factors", (about.factors,), _groups(evaluations)),
        Section("Metrics", (about.metrics,)),
        Section("Training data", *_training_data(config)),
        Section("Evaluation data and scores", *_scores(run, evaluations)),
        Section(
            "Ethical considerations",
            (
                "Films and scans are of people. Of a file only its name is kept: no name, birth "
                "date or number of a patient reaches what this program writes. A run's seen.csv "
                "holds hashes of the numbers, which whoever knows these can look for.",
                "A model learns what its data holds, also what it should not: the view, the "
                "scanner, the hospital. A group that is rare in the data may be served worse.",
            ),
        ),
        Section("Caveats and recommendations", about.caveats),
    )
    return ModelCard(
        f"Model card: {config['project']}",
        bool(config["synthetic"]),
        sections,
        metadata(run, about.task, about.tags, evaluations),
    )


def model_hashes(run: Path) -> dict[str, str]:
    """The SHA-256 of every model of a run's folder, by its file's name there."""
    files = sorted([*run.glob("model.keras"), *run.glob("*/model.keras")])
    return {
        str(file.relative_to(run)): sha256(file)
        for file in files
        if file.parent.name != "head"  # a first stage of the training, and no result
    }


def as_markdown(card: ModelCard) -> str:
    """A card as Markdown, after its front matter."""
    parts = [as_yaml(card.metadata), f"# {card.title}"]
    if card.synthetic:
        parts.append(f"**{SYNTHETIC}**")
    for section in card.sections:
        parts += [f"## {section.title}", *section.text]
        if section.table:
            head, *rows = (f"| {' | '.join(map(cell, row))} |" for row in section.table)
            rule = "|" + "---|" * len(section.table[0])
            parts.append("\n".join([head, rule, *rows]))
    return "\n\n".join(parts) + "\n"


def write_model_card(folder: Path, run: Run, about: About) -> Path:
    """Write a run's card as ``model_card.md`` into a folder; gives the path back."""
    path = folder / FILE
    write_text(path, as_markdown(model_card(run, about)))
    return path


def _model(about: About, settings: Mapping[str, Any]) -> str:
    # Runs of earlier versions are all of the first.
    backbone = settings.get("backbone", next(iter(BACKBONES)))
    return about.model.replace("NETWORK", BACKBONES[backbone])


def _details(run: Run) -> Rows:
    config = run.config
    chosen = [item for item in config["settings"].items() if item[0] not in _NO_SETTING]
    return (
        ("what", "value"),
        ("run", run.folder.resolve().name),
        ("trained", config["created"]),
        *((f"sha256 of {file}", digest) for file, digest in model_hashes(run.folder).items()),
        ("settings", ", ".join(f"{name} {display(value)}" for name, value in chosen)),
        ("versions", ", ".join(f"{name} {value}" for name, value in config["versions"].items())),
        ("licence of the code", "Apache-2.0"),
    )


def _training_data(config: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows]:
    data = config["data"]
    warning = config.get("split_warning") or ""
    split = "split by patient, so that nobody is on two sides"
    text = (
        f"{config['dataset']}, prepared by prepare_data.py; {warning or split}. Every fitted "
        "constant is from the training or the validation split.",
    )
    settings = ", ".join(f"{name} {display(value)}" for name, value in data["settings"].items())
    rows = [("key of the prepared data", data["key"]), ("its settings", settings)]
    manifest = Path(config["prepared"]) / "manifest.json"
    if manifest.exists() and (prepared := read_json(manifest)).get("key") == data["key"]:
        rows += [(f"cases, {split}", str(count)) for split, count in prepared["counts"].items()]
    return text, (("what", "value"), *rows)


def _scores(run: Run, evaluations: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], Rows]:
    if not evaluations:
        return ("This run was not evaluated: how well it does is not known.",), ()
    text = [
        "Intervals are 95 %, over patients, and over images where these are not known "
        "(docs/intervals.md). The baseline is the strongest of the simple ones; a model that does "
        "not beat it has learned nothing of use."
    ]
    warnings = dict.fromkeys(metrics.get("split_warning", "") for metrics in evaluations)
    text += [f"Caution: {warning}." for warning in warnings if warning]
    if any(map(of_validation, evaluations)):
        text.append(_OF_VALIDATION)
    text += card_lines(run)
    head = ("data", "cases", "patients", "score", "model [95 % interval]", "baseline")
    rows = [
        (marked_name(metrics), str(metrics["n"]), _patients(metrics), *row)
        for metrics in evaluations
        for row in score_rows(metrics)
    ]
    return tuple(text), (head, *rows)


def _patients(metrics: Mapping[str, Any]) -> str:
    return str(metrics["n_patients"]) if metrics.get("patients_known", True) else "unknown"


def _groups(evaluations: Sequence[Mapping[str, Any]]) -> Rows:
    """The newest evaluation's main score of each group: views, sexes, ages, or labels."""
    rows = [
        (entry["group"], metrics["split"], str(entry["n"]), entry["name"], with_interval(entry))
        for metrics in evaluations[-1:]
        for entry in metrics.get("main_scores_of_groups", ())
    ]
    head = ("group", "data", "cases", "score", "model [95 % interval]")
    return (head, *rows) if rows else ()


def display(value: Any) -> str:
    """A setting without the folders of the machine that it was given on."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(display, value))
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)


def cell(text: str) -> str:
    """A text as a cell of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
