"""A run's detector of odd films (`common.imaging.film_doubts`): fitted by train.py, used after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.imaging.detectors import doubter, keep_detector
from common.imaging.film_doubts import FILE, MAX_FILMS, MIN_FILMS, fit_detector, read_detector
from common.imaging.film_looks import Look, look_at
from common.records.looks import patients_of
from common.records.mapped import MappedRecords
from common.records.prepared import Prepared
from common.records.stored_images import StoredFilm, stored_pixels
from common.training.runs import Run


def fit_film_detector(run: Path, prepared: Prepared, train: Sequence[str], seed: int) -> list[str]:
    """Fit the detector of a run's training films, and write it into the run.

    Args:
        run: The run's folder.
        prepared: What it trains on.
        train: The splits that train, without copies.
        seed: Of what is drawn.

    Returns:
        The file's name; nothing where there are too few films.
    """
    looks = looks_of(prepared, train, MAX_FILMS, seed)
    detector = fit_detector([*looks.values()], patients_of(prepared.cases(), looks), seed)
    too_few = f"{len(looks)} films are too few to learn what is odd; {MIN_FILMS} are enough"
    return keep_detector(run, FILE, detector, too_few)


def looks_of(
    prepared: Prepared, splits: Sequence[str], limit: int | None = None, seed: int = 0
) -> dict[str, Look]:
    """The looks of some splits' films by case; of more than a limit those that are drawn."""
    records = MappedRecords(prepared.shards(splits))
    numbers = np.arange(len(records))
    if limit is not None and limit < len(records):
        numbers = np.sort(np.random.default_rng(seed).choice(len(records), limit, replace=False))
    looks = {}
    for number in numbers:
        features = tf.train.Example.FromString(records[number]).features.feature
        case = features["case"].bytes_list.value[0].decode()
        looks[case] = look_at(stored_pixels(features["image"].bytes_list.value[0]))
    return looks


def doubted_films(
    run: Run, prepared: Prepared, splits: Sequence[str], cases: Iterable[str]
) -> dict[str, str] | None:
    """Why each case is doubted by a run's detector, or ""; None where it has none."""
    detector = read_detector(run.folder / FILE)
    if detector is None:
        return None
    looks = looks_of(prepared, splits)
    scored = [case for case in cases if case in looks]
    return dict(zip(scored, detector.doubts([looks[case] for case in scored]), strict=True))


def film_doubter(run: Run) -> Callable[[StoredFilm], str]:
    """What says why a film is doubted, by its header and by a run's detector."""
    without = "the run has no detector of odd pictures: films are doubted by their header alone"
    detector = read_detector(run.folder / FILE)
    return doubter(detector, attrgetter("look"), attrgetter("doubt"), without)
