"""report.html of made-up evaluations whose names, settings and captions are hostile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import numpy as np
from PIL import Image

from common.base.files import write_json
from common.base.tables import Table
from common.reporting import html_report
from common.reporting.model_card import About
from common.reporting.palette import PREDICTION, TRUTH
from common.training.runs import Run
from tests.commands.test_results import METRICS

NAMES = [
    "plain", "<script>window.hacked = 1</script>", "\"><img src=x onerror='window.hacked=1'>",
    "two\nlines", "it's & so on", "</td></table>{{ 7 * 7 }}",
]  # fmt: skip
SCORES = [0.9, 0.05, 0.5, 0.11, 0.7, None]

COUNT = 150_000

XHTML = "{http://www.w3.org/1999/xhtml}"


def parsed(path: Path) -> Element:
    """The page as a strict HTML parser sees it; what is not valid raises."""
    return html5lib.HTMLParser(strict=True).parse(path.read_text(encoding="utf-8"))


def texts(page: Element, tag: str) -> list[str]:
    return ["".join(of.itertext()).strip() for of in page.iter(XHTML + tag)]


def write_pages(base: Path) -> Path:
    """Three evaluations with a page: ``test``, ``real`` and, with `COUNT` cases, ``many``.

    Returns:
        The folder of ``test``, next to which the others lie.
    """
    folder = base / "evaluation" / "test"
    folder.mkdir(parents=True)
    metrics = {
        "project": "heart_detection", "dataset": NAMES[1], "synthetic": True, "split": "test",
        "n": len(NAMES), "n_patients": 5, "seed": 1, "created": "2026-01-01T00:00:00+00:00",
        "iou": {"mean": 0.8, "ci95": [0.7, 0.9]}, "iou_above": {"0.5": 5},
        "baselines": METRICS["heart"]["baselines"],
        "versions": {"keras": NAMES[2], "commit": f"{'0123456789abcdef':0<40}-dirty"},
    }  # fmt: skip
    write_json(folder / "metrics.json", metrics)
    (folder / "predictions.csv").write_text("case\n")
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 90), dtype=np.uint8)
    still, moving = folder / "a.png", folder / "b.gif"
    frames = [Image.fromarray(one) for one in noise]
    frames[0].save(still)
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=50, loop=0)
    truth, mask = (folder / f"{name}.png" for name in ("truth", "mask"))
    for path, colour in ((truth, TRUTH), (mask, PREDICTION)):
        Image.new("RGB", (200, 100), colour).save(path)
    over = html_report.Picture(mask, NAMES[1], NAMES[5])
    run = Run(
        folder.parents[1],
        {
            "project": "heart_detection", "dataset": NAMES[1], "synthetic": True,
            "prepared": "nowhere", "data": {"key": "k", "settings": {"patients": "/secret/a.csv"}},
            "settings": {"weights": NAMES[1]}, "versions": {"keras": "3"},
            "created": "2025-12-30T12:00:00+00:00",
        },
        {},
    )  # fmt: skip
    words = dict.fromkeys(("model", "question", "answer", "factors", "metrics"), NAMES[4])
    page = html_report.Page(
        title=NAMES[2],
        answer=(NAMES[1],),
        scores=(html_report.Score("IoU", 0.8, [0.7, 0.9], 0.6, "the mean box",
                                  {"value": 0.2, "ci95": [0.1, 0.3]}),
                html_report.Score("other", None, None, None, "none")),
        charts=(html_report.Picture(still, NAMES[2], NAMES[2]),),
        tables=(Table("", ("score", "model"), (("IoU", "0.800 [0.700, 0.900]"),)),
                Table(NAMES[5], ("edge", "model"), (("left", "1.0"),))),
        examples=(
            html_report.Picture(moving, NAMES[3], NAMES[2], "Worst", NAMES[1]),
            html_report.Picture(truth, NAMES[4], NAMES[2], "Worst", NAMES[1], over),
        ),
        cases=Table("", ("case", "score"), tuple(
            (name, "-" if score is None else f"{score:.3f}")
            for name, score in zip(NAMES, SCORES, strict=True)
        )),
    )  # fmt: skip
    about = About(**words, caveats=(NAMES[1], "second"))
    html_report.write_report(run, folder, about, page)
    other = folder.parent / "real"
    other.mkdir()
    write_json(
        other / "metrics.json",
        {**metrics, "data_synthetic": False, "split": "real", "scored_before": 2},
    )
    (other / "predictions.csv").write_text("case\n")
    html_report.write_report(run, other, about, page)
    many = folder.parent / "many"
    many.mkdir()
    write_json(many / "metrics.json", {**metrics, "n": COUNT, "n_patients": COUNT // 2})
    (many / "predictions.csv").write_text("case\n")
    rows = tuple((f"case-{number:06d}", f"{number / COUNT:.6f}") for number in range(COUNT))
    cases = dataclasses.replace(page.cases, rows=rows)
    html_report.write_report(run, many, about, dataclasses.replace(page, cases=cases))
    return folder
