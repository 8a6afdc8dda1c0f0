"""Score a run on films that are changed in what says nothing of the lung.

That is proportions, sharpness and tone. A network that reads its answer from how films were taken
or stored loses where these are changed, and in the next hospital; most where negatives are changed
one way and positives the other. Prints a table.

    python -m pneumonia_classification.perturbed runs/my-run --split validation
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
from PIL import Image, ImageFilter

from common.base.arguments import Parser
from common.base.backend import start_tensorflow
from common.base.errors import UserError, run_script
from common.base.progress import progress
from common.base.tables import Table, print_table
from common.training import evaluations
from common.training.runs import open_run
from pneumonia_classification.config import PROJECT, EvaluateSettings

AS_STORED = "as stored"

Change = Callable[[np.ndarray], np.ndarray]


def in_proportions(film: np.ndarray, ratio: float) -> np.ndarray:
    """A film (side, side) 0..255 with its width to its height times ``ratio``, of the same area.

    What comes to lie outside is cut off, what is missing is black.
    """
    side = film.shape[0]
    width, height = (max(1, round(side * share)) for share in (ratio**0.5, ratio**-0.5))
    changed = Image.fromarray(film).resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("L", (side, side))
    square.paste(changed, ((side - width) // 2, (side - height) // 2))
    return np.asarray(square)


def _blurred(film: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(film.shape[0] / 100)))


def _brighter(film: np.ndarray) -> np.ndarray:
    return np.rint(255 * (film / 255) ** 0.7).astype(np.uint8)


def _as_jpeg(film: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(film).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


NARROW, WIDE = (partial(in_proportions, ratio=ratio) for ratio in (0.75, 1 / 0.75))

CHANGES: Mapping[str, tuple[Change, Change]] = MappingProxyType(
    {
        AS_STORED: (np.asarray, np.asarray),
        "all narrower by a quarter": (NARROW, NARROW),
        "all wider by a third": (WIDE, WIDE),
        "negatives narrower, positives wider": (NARROW, WIDE),
        "negatives wider, positives narrower": (WIDE, NARROW),
        "blurred, 1 % of the side": (_blurred, _blurred),
        "negatives blurred": (_blurred, np.asarray),
        "positives blurred": (np.asarray, _blurred),
        "brighter, gamma 0.7": (_brighter, _brighter),
        "JPEG of quality 30": (_as_jpeg, _as_jpeg),
    }
)
"""What negatives and what positives are changed by: (side, side) uint8 to the same."""


def main() -> None:
    """Print the scores of a run on changed films."""
    parser = Parser("pneumonia_classification.perturbed", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run that ended")
    parser.add_argument(
        "--split",
        choices=("test", "validation", "fold"),
        default="validation",
        help="of the run's data",
    )
    arguments = parser.parse_args()
    settings = dataclasses.replace(
        EvaluateSettings(), run=arguments.run, split=arguments.split, pictures=0
    )
    run = open_run(PROJECT, settings)
    start_tensorflow()

    from common.scores.classification import classification_scores
    from common.scores.formatting import score, with_interval
    from common.training.pipeline import stored_films
    from common.training.seen import cases_to_score, note_scoring
    from pneumonia_classification import inference

    if not inference.classes_of_run(run).are_two:
        raise UserError(f"{run.folder}: tells several classes apart; this is for runs of two")
    folder = run.folder / "evaluation"
    prepared, splits = evaluations.evaluation_data(run, settings, folder, PROJECT.prepare_to_test)
    folder.mkdir(exist_ok=True)
    cases, _ = cases_to_score([run], prepared, splits, settings.split, False, folder)
    names, labels = list(cases["case"]), cases["label"].to_numpy()
    films = dict(stored_films(prepared, splits, names, run.fitted["image_size"]))
    model, rule = inference.open_model(run, settings), inference.decision(run, settings)
    threshold = cast("float", rule.threshold)
    rows = []
    for name, pair in progress(CHANGES.items(), desc="films changed", leave=False):
        images = np.stack(
            [pair[label](films[case]) for case, label in zip(names, labels, strict=True)]
        )
        probabilities = model.predict(images[..., None], settings.batch_size, verbose=0)[:, 0]
        scores = classification_scores(labels, probabilities, cases["patient"], threshold)
        shares = (with_interval(score(scores, share)) for share in ("recall", "specificity"))
        rows.append((name, with_interval(scores["auroc"]), *shares))
    print(f"\n{run.folder}: {len(names)} films of {prepared.manifest['dataset']}, {settings.split}")
    print_table(Table("", ("films", "AUROC", "sensitivity", "specificity"), tuple(rows)))
    note_scoring(run, prepared, splits)


if __name__ == "__main__":
    run_script(main)
