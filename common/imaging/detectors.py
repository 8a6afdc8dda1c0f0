"""What the detectors of odd films and of odd volumes share: folds, thresholds, a file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.base.errors import UserError
from common.base.files import atomic_write

FOLDS = 5
"""Of patients, so that each picture is scored by a model that saw no other of its patient."""

# The share of scores that is their tail.
_TAIL = 0.1


def patient_folds(patients: Sequence[str], seed: int) -> np.ndarray:
    """The fold of each picture, one for all of a patient; of fewer than `FOLDS` each its own."""
    names, patient = np.unique(np.asarray(patients, str), return_inverse=True)
    if len(names) < FOLDS:
        patient = np.arange(len(patients))
    places = np.random.default_rng(seed).permutation(patient.max() + 1)
    return places[patient] % FOLDS


def tail_threshold(scores: np.ndarray, share: float) -> float:
    """The score that such a share of all exceeds, with an exponential tail."""
    start = np.quantile(scores, 1 - _TAIL)
    excess = scores[scores > start] - start
    # The median, which a few odd pictures among the others do not move.
    mean = np.median(excess) / np.log(2) if len(excess) else 0.0
    return float(start + mean * np.log(_TAIL / share))


def in_words(doubted: np.ndarray, words: Sequence[str]) -> list[str]:
    """Why each picture is doubted, from (n, words) of booleans; "" for no reason."""
    texts = np.array(words)
    return ["; ".join(texts[row]) for row in doubted]


def write_arrays(path: Path, version: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a detector's arrays into a file, thresholds as they are and the others as float32."""
    arrays = {
        name: values if name == "thresholds" else values.astype(np.float32)
        for name, values in arrays.items()
    }
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, version=version, **arrays)  # type: ignore[arg-type]  # stub of NumPy


class Detector(Protocol):
    """Of odd films or volumes."""

    def write(self, path: Path) -> None:
        """Write the detector into a file."""

    def doubts(self, looks: Sequence[Any]) -> list[str]:
        """Why each look is odd; "" for no reason."""


def doubter(
    detector: Detector | None,
    look: Callable[[Any], Any],
    reason: Callable[[Any], str],
    without: str,
) -> Callable[[Any], str]:
    """What says why a picture is doubted, by what reading it said and by a detector.

    Args:
        detector: A run's; where there is none, that is printed once.
        look: The look of what was read; None of what has none.
        reason: Why reading it gives doubt, "" for no reason.
        without: What is printed where there is no detector.
    """
    if detector is None:
        print(f"  {without}")

    def doubt(content: Any) -> str:
        seen = look(content) if detector else None
        odd = detector.doubts([seen]) if detector and seen is not None else []
        return "; ".join(filter(None, (reason(content), *odd)))

    return doubt


def keep_detector(run: Path, file: str, detector: Detector | None, too_few: str) -> list[str]:
    """Write a run's detector, if there is one, in the place of an earlier one.

    Args:
        run: The run's folder.
        file: The detector's name in it.
        detector: None where nothing can be learned.
        too_few: Is printed then.

    Returns:
        The file's name; nothing where there is none.
    """
    (run / file).unlink(missing_ok=True)
    if detector is None:
        print(f"  {too_few}")
        return []
    detector.write(run / file)
    return [file]


def read_arrays(path: Path, version: int, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The arrays that `write_arrays` wrote; None where there are none of this version.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path) as stored:
            if int(stored["version"]) != version:
                return None
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is damaged; train again into another folder") from error
