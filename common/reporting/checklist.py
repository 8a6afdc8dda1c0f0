"""Two checklists for reports, filled from a run's files alone.

An answer is made of entries that stand in a file of the run, each named with its file. What no
file says is "not known", for the authors to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.base.files import read_json, write_text
from common.reporting.checklist_items import (
    CLAIM,
    CONFIG,
    FITTED,
    METRICS,
    OTHERS,
    OWN,
    TRIPOD,
    Checklist,
    Fact,
    Item,
)
from common.reporting.model_card import cell

FILE = "checklist.md"
NOT_KNOWN = "not known"

Files = Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]
"""By `CONFIG` and so on: the name of each such file in the run, and its content."""


@dataclass(frozen=True)
class Answer:
    """An item with its answer.

    Attributes:
        item: The item.
        text: The answer, or `NOT_KNOWN`.
        files: Those that the answer is from, by their names in the run; none where not known.
    """

    item: Item
    text: str
    files: tuple[str, ...] = ()


def files_of(run: Path, evaluation: Path) -> Files:
    """The files of a run that answer items; those that are missing are left out.

    Args:
        run: The run's folder.
        evaluation: That of the evaluation which is reported, in the run.

    Raises:
        UserError: One cannot be read.
    """
    files: dict[str, list[tuple[str, Mapping[str, Any]]]] = {OWN: [], OTHERS: []}
    for name in (CONFIG, FITTED):
        if (run / name).is_file():
            files[name] = [(name, read_json(run / name))]
    for path in sorted(run.glob(f"evaluation/*/{METRICS}")):
        entry = (path.relative_to(run).as_posix(), read_json(path))
        if "other_source" in entry[1]:
            files[OTHERS if entry[1]["other_source"] else OWN].append(entry)
        if path.parent.resolve() == evaluation.resolve():
            files[METRICS] = [entry]
    return files


def answers(checklist: Checklist, files: Files) -> list[Answer]:
    """The answer to every item of a checklist."""
    return [_answer(item, files) for item in checklist.items]


def write_checklist(run: Path, evaluation: Path) -> Path:
    """Write ``checklist.md`` of an evaluation, print how much is answered; gives the path back.

    Args:
        run: The run's folder.
        evaluation: The evaluation's folder in it.

    Raises:
        UserError: A file of the run cannot be read.
    """
    files = files_of(run, evaluation)
    parts = [
        f"# Checklists for a report: {run.resolve().name}, {evaluation.resolve().name}",
        "Filled from the run's files alone; the last column says which. What they do not say is "
        f'"{NOT_KNOWN}", and yours to answer. Items have their published numbers, in short words '
        "that are not the published ones: read those, in the paper, before you submit.",
    ]
    for checklist in (CLAIM, TRIPOD):
        filled = answers(checklist, files)
        count = sum(bool(answer.files) for answer in filled)
        known = f"{count} of {len(filled)} items are answered, or a part of them"
        print(f"  {checklist.title}: {known}")
        rows = [
            (answer.item.number, answer.item.asks, answer.text, ", ".join(answer.files))
            for answer in filled
        ]
        lines = [
            f"| {' | '.join(map(cell, row))} |"
            for row in (("item", "asks for", "answer", "from"), *rows)
        ]
        table = "\n".join([lines[0], "|---|---|---|---|", *lines[1:]])
        parts += [f"## {checklist.title}", f"{checklist.source}. {known}.", table]
    write_text(evaluation / FILE, "\n\n".join(parts) + "\n")
    return evaluation / FILE


def _answer(item: Item, files: Files) -> Answer:
    texts, sources = [], []
    for kind in dict.fromkeys(fact.file for fact in item.facts):
        for name, content in files.get(kind, ()):
            facts = (fact for fact in item.facts if fact.file == kind)
            words = ((fact.label, _in_words(fact, content)) for fact in facts)
            if parts := [f"{label}: {text}" for label, text in words if text]:
                texts += parts
                sources.append(name)
    if not texts:
        return Answer(item, NOT_KNOWN)
    return Answer(item, "; ".join(texts), tuple(sources))


def _in_words(fact: Fact, content: Mapping[str, Any]) -> str:
    """What an entry says; "" where it is missing, or empty but for a list that may be so."""
    value: Any = content
    for name in fact.path.split("/"):
        if not isinstance(value, Mapping) or name not in value:
            return ""
        value = value[name]
    return "" if value is None or value in ("", {}) else fact.show(value)
