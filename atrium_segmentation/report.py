"""report.html of an atrium evaluation.

evaluate.py writes it. This command writes it again from the evaluation's files, without predicting:

    python -m atrium_segmentation.report runs/my-run/evaluation/test
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atrium_segmentation import score_tables
from atrium_segmentation.config import PROJECT, EvaluateSettings
from atrium_segmentation.model_card import ABOUT
from atrium_segmentation.networks import NETWORKS, in_order, title_of
from atrium_segmentation.scores import main_scores
from common.base.errors import run_script
from common.base.files import read_json
from common.base.tables import Table
from common.reporting.examples import BEST, TYPICAL, WORST, Example, examples_of
from common.reporting.html_report import (
    Page,
    Picture,
    page_scores,
    training_picture,
    write_again,
    write_report,
)
from common.training.runs import Run


def write_page(run: Run, folder: Path) -> Path:
    """Write report.html of an evaluation from its files; gives the path back."""
    metrics = read_json(folder / "metrics.json")
    networks = in_order(metrics["models"])[::-1]
    scores = page_scores(main_scores(metrics))
    page = Page(
        title="The left atrium in heart MRI",
        answer=_answer(metrics, networks[0]),
        scores=(*scores[: len(networks)][::-1], *scores[len(networks) :]),
        charts=_charts(run, folder, networks),
        tables=score_tables.tables(metrics),
        examples=_examples(folder, metrics, networks),
        cases=_cases(metrics, networks),
    )
    return write_report(run, folder, ABOUT, page)


def _answer(metrics: Mapping[str, Any], network: str) -> tuple[str, ...]:
    scores, title = metrics["models"][network], NETWORKS[network].title
    sentences = [
        f"{title}'s mask and the reader's agree with a mean Dice of {scores['dice']['mean']:.2f} "
        f"(1 is all, 0 is nothing), in the worst volume {scores['dice']['min']:.2f}. The mean "
        f"shape of the training masks, which looks at no image, has "
        f"{metrics['baselines']['mean_shape']['dice']:.2f}.",
        f"Their surfaces are {scores['assd_mm']['mean']:.1f} mm apart on average, and the volume "
        f"is off by {scores['volume_error_ml']['mean']:.1f} ml.",
    ]
    for difference in score_tables.differences(metrics):
        model, other = (title_of(difference[key]) for key in ("model", "minus"))
        nothing = "so neither is shown to be better."
        if difference["ci95"] is None:
            why = difference.get("ci95_reason") or "too few patients"
            words = f"that difference has no interval ({why}), {nothing}"
        else:
            low, high = difference["ci95"]
            clear = "leaves out 0." if low > 0 or high < 0 else f"holds 0, {nothing}"
            words = f"the interval of that difference {clear}"
        sentences.append(
            f"Case by case {model}'s Dice is {abs(difference['mean']):.3f} "
            f"{'above' if difference['mean'] >= 0 else 'below'} {other}'s; {words}"
        )
    return *sentences, *score_tables.validation_sentences(metrics)


def _charts(run: Run, folder: Path, networks: list[str]) -> tuple[Picture, ...]:
    return (
        Picture(
            folder / score_tables.CASES,
            "Dice of every case, next to the mean shape's.",
            "Dice of every case.",
        ),
        Picture(
            folder / score_tables.VOLUMES,
            "The predicted volume against the true one; on the dotted line they agree.",
            "Predicted against true volumes in ml, one mark per case.",
        ),
        training_picture(
            run, folder, {NETWORKS[name].title: run.folder / name for name in networks}
        ),
    )


def _examples(folder: Path, metrics: dict[str, Any], networks: list[str]) -> tuple[Picture, ...]:
    rows = {row["case"]: row for row in metrics["cases"]}

    def dices(case: str) -> str:
        return ", ".join(
            f"{NETWORKS[name].title} {rows[case][name]['dice']:.3f}" for name in networks
        )

    title = NETWORKS[networks[0]].title
    return tuple(
        picture
        for kind in (WORST, TYPICAL, BEST)
        for example in examples_of(metrics)
        if example.kind == kind
        for picture in _pictures(folder, example, dices(example.case), title)
    )


def _pictures(folder: Path, example: Example, dices: str, title: str) -> Iterator[Picture]:
    """The pictures of a case, whose main network has this title."""
    place: dict[str, Any] = {"heading": example.kind.capitalize(), "case": example.case}
    volume, files = f"MRI volume {example.case}", [folder / file for file in example.files]
    contents = "slices from the feet to the head", "three planes through the atrium's middle"
    for file, content in zip(files, contents, strict=False):
        caption = f"{example.case}, {content}. Dice: {dices}."
        yield Picture(
            file, caption, f"{volume}, {content}. Truth in blue, prediction in red.", **place
        )
    # Evaluations of an earlier version have no slice to compare.
    if len(files) > 3:
        content = f"the slice where {title}'s mask and the truth differ most"
        over = Picture(
            files[4],
            f"Left of the slider the truth, right of it {title}'s mask",
            f"{volume}, {content}. The mask in red.",
        )
        yield Picture(
            files[3],
            f"{example.case}, {content}.",
            f"{volume}, {content}. The truth in blue.",
            **place,
            over=over,
        )
    if len(files) > 5:
        content = "the true surface from three sides"
        colours = "Blue where the mask falls short of it, red where it reaches beyond"
        yield Picture(
            files[5], f"{example.case}, {content}. {colours}.", f"{volume}, {content}. {colours}.",
            **place,
        )  # fmt: skip


def _cases(metrics: Mapping[str, Any], networks: list[str]) -> Table:
    titles = [NETWORKS[name].title for name in networks]
    return Table(
        "",
        (
            "case",
            "patient",
            *(f"Dice, {title}" for title in titles),
            "Dice, mean shape",
            *(f"HD95 in mm, {title}" for title in titles),
            "true ml",
            *(f"ml, {title}" for title in titles),
        ),
        tuple(
            (
                row["case"],
                str(row["patient"]),
                *(f"{row[name]['dice']:.3f}" for name in networks),
                f"{row['mean_shape']['dice']:.3f}",
                *(f"{row[name]['hd95_mm']:.2f}" for name in networks),
                f"{row[networks[0]]['truth_ml']:.1f}",
                *(f"{row[name]['predicted_ml']:.1f}" for name in networks),
            )
            for row in sorted(metrics["cases"], key=lambda row: row[networks[0]]["dice"])
        ),
    )


if __name__ == "__main__":
    run_script(lambda: write_again(PROJECT, EvaluateSettings(), write_page))
