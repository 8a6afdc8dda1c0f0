"""Whether a run's scores hold elsewhere: on other sources, and on what its training lacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.base.errors import UserError
from common.base.files import read_json
from common.base.printing import counted
from common.base.tables import Table
from common.datasets.splits import RANDOM, SHIFTED
from common.scores.formatting import marked_name, of_validation, with_interval
from common.scores.intervals import difference_of_independent
from common.training.runs import Run

Metrics = Mapping[str, Any]
"""The content of a ``metrics.json``."""

NEVER = (
    "It was never tried on another source, where scores are often lower: "
    "python evaluate.py --run RUN --source ANOTHER/DATASET tries it."
)


@dataclass(frozen=True)
class Elsewhere:
    """What a page says of it.

    Attributes:
        text: Paragraphs.
        tables: Under them.
    """

    text: tuple[str, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Sources:
    """The evaluations of a run that have a main score.

    Attributes:
        own: Of its own data: the test split, else validation; None without either.
        others: Of other sources, the oldest first.
    """

    own: Metrics | None
    others: tuple[Metrics, ...]

    @property
    def score_name(self) -> str:
        """The name of the score that is compared: the main one of the run's own data if known."""
        first = (self.own or self.others[0])["main_scores"][0]
        return str(first["name"])

    def score(self, metrics: Metrics) -> Metrics | None:
        """The score of that name; None where it is not there, as of another network."""
        scores = (entry for entry in metrics["main_scores"] if entry["name"] == self.score_name)
        return next(scores, None)

    def change(self, metrics: Metrics) -> Metrics | None:
        """That score of another source less that of the run's own data, where there are both."""
        own, score = self.own and self.score(self.own), self.score(metrics)
        return difference_of_independent(score, own) if own and score else None


def sources(run: Run, newest: Metrics | None = None) -> Sources:
    """Find a run's evaluations; one that cannot be read is left out.

    Args:
        run: Whose.
        newest: One that is not written yet; it replaces an earlier one of its name.
    """
    by_name: dict[str, Metrics] = {}
    for file in sorted(run.folder.glob("evaluation/*/metrics.json")):
        try:
            metrics = read_json(file)
        except UserError:
            continue
        # One of an earlier version does not say on whose data.
        if "other_source" in metrics:
            by_name[file.parent.name] = metrics
    if newest is not None:
        by_name[newest["split"]] = newest
    scored = [metrics for metrics in by_name.values() if metrics.get("main_scores")]
    scored.sort(key=lambda metrics: metrics["created"])
    others = tuple(metrics for metrics in scored if metrics.get("other_source"))
    own = sorted((m for m in scored if not m.get("other_source")), key=of_validation)
    return Sources(own[0] if own else None, others)


def tried_elsewhere(evaluations: Sources) -> str:
    """On which other sources a run was tried, and how much it lost there, in a sentence."""
    own, others = evaluations.own, evaluations.others
    if not others:
        return NEVER
    parts = [f"{with_interval(evaluations.score(own))} on {marked_name(own)}"] if own else []
    for metrics in others:
        part = f"{with_interval(evaluations.score(metrics))} on {marked_name(metrics)}"
        if own:
            part += f", a change of {with_interval(evaluations.change(metrics), sign='+')}"
        parts.append(part)
    count = counted(len(others), "other source")
    return f"Tried on {count}: {evaluations.score_name} {'; '.join(parts)}."


def parts_apart(metrics: Metrics) -> str:
    """How the scores of the shifted part differ from those of the random one; "" without parts."""
    groups = {entry["group"]: entry for entry in metrics.get("main_scores_of_groups", ())}
    shifted, random = groups.get(f"part {SHIFTED}"), groups.get(f"part {RANDOM}")
    if not shifted or not random:
        return ""
    gap = difference_of_independent(shifted, random)
    return (
        "On the shifted part, which is unlike what trained, "
        f"{shifted['name']} is {with_interval(shifted)}; on patients at random "
        f"{with_interval(random)}: a difference of {with_interval(gap, sign='+')}."
    )


def card_lines(run: Run) -> tuple[str, ...]:
    """What a run's card says: other sources, the shifted part, and shortcuts to the label."""
    evaluations = sources(run)
    own = evaluations.own or {}
    lines = [tried_elsewhere(evaluations), parts_apart(own)]
    if "shortcuts" in own:
        # scikit-learn takes a second to import, and predict.py --help imports this module.
        from common.scores.shortcuts import describe_shortcuts

        lines.append(describe_shortcuts(own["shortcuts"]))
    return tuple(filter(None, lines))


def source_table(
    evaluations: Sources,
    head: Sequence[str] = (),
    cells: Callable[[Metrics], Sequence[str]] = lambda m: (),
) -> Table:
    """The evaluations of other sources under that of a run's own data.

    Args:
        evaluations: The evaluations.
        head: Titles of further columns.
        cells: An evaluation's cells in these.
    """
    own = [evaluations.own] if evaluations.own else []
    rows = tuple(
        (
            marked_name(metrics),
            str(metrics["n"]),
            with_interval(evaluations.score(metrics)),
            "" if metrics in own else with_interval(evaluations.change(metrics), sign="+"),
            *cells(metrics),
        )
        for metrics in (*own, *evaluations.others)
    )
    head = ("data", "cases", evaluations.score_name, "change", *head)
    return Table("other sources", head, rows)


def elsewhere(run: Run, metrics: Metrics) -> Elsewhere:
    """What a page says without a project's own words."""
    evaluations = sources(run, metrics)
    tables = (source_table(evaluations),) if evaluations.others else ()
    return Elsewhere((tried_elsewhere(evaluations),), tables)
