"""What a run says of files: one way for predict.py and for the page of `common.app`.

Each project has a module ``predictor`` with ``open_predictor``, from the folder of a run to a
`Predictor` with the settings that its predict.py has by default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common.base.settings import SharedPredict
from common.prediction.archive import SAID, write_capture
from common.prediction.finished import DICOM, MASKS
from common.prediction.predictions import Predictions
from common.reporting.model_card import About
from common.training.runs import Run

# Volumes that are read ahead of the network, which takes longer; each may be gigabytes.
_VOLUMES_AHEAD = 2


@dataclass(frozen=True)
class Answer:
    """What a run says of one file.

    Attributes:
        row: Its columns in predictions.csv that are its project's own.
        words: The same in a line.
        content: The file as it was read.
        result: What its picture shows: the number of a class, a box, or the labels of voxels.
    """

    row: dict[str, Any]
    words: str
    content: Any
    result: Any


@dataclass(frozen=True)
class Drawing:
    """A picture to draw.

    Attributes:
        path: Where the PNG goes.
        answer: What it shows.
        name: Of the file, for its title.
        doubt: Why the file is doubted, "" for no reason.
    """

    path: Path
    answer: Answer
    name: str
    doubt: str


class Predictor(ABC):
    """A run's networks, and what turns a file into its row, its picture and its mask.

    Attributes:
        run: The run.
        about: The project's part of the model card.
        rule: How it decides, in words.
        kinds: The kinds of files that it reads, in words.
        columns: Of predictions.csv, between ``file`` and ``error``.
        has_masks: Whether its inputs are volumes, which get a mask each.
        read: Reads a file, or the folder of a series; importable, raises `UserError`.
        doubt: Why what was read is doubted, "" for no reason.
    """

    run: Run
    about: About
    rule: str
    kinds: str
    columns: Sequence[str]
    has_masks: bool = False
    read: Callable[[Path], Any]
    doubt: Callable[[Any], str]

    @abstractmethod
    def predict(self, contents: Sequence[Any]) -> list[Answer]:
        """Predict what was read."""

    @abstractmethod
    def draw(self, drawings: Sequence[Drawing]) -> None:
        """Draw some answers."""

    def write_mask(self, path: Path, answer: Answer) -> None:
        """Write the mask of a volume as NIfTI, in the input's own grid."""
        raise NotImplementedError(f"no mask for {path.name}: its file is no volume")

    def write_dicom(self, path: Path, source: Path, answer: Answer, picture: Path) -> str:
        """Write an answer for the archive (`common.prediction.archive`); "", or why there is none.

        Args:
            path: Where to.
            source: The file, or the folder of a series.
            answer: What it got.
            picture: Of a film, that of `draw`.
        """
        return write_capture(path, source, picture, answer.words, self.run.config["synthetic"])

    def slices(self, answer: Answer) -> list[np.ndarray]:
        """The slices of a volume with its mask, (height, width, 3) uint8; none of a film."""
        return []


def predict_all(
    predictions: Predictions, predictor: Predictor, settings: SharedPredict
) -> Sequence[str]:
    """Predict every file that has no row yet, batch by batch; write rows, pictures and masks.

    Args:
        predictions: The folder.
        predictor: Predicts; a volume is a batch of slices already, and comes alone.
        settings: With ``batch_size``, ``workers``, ``pictures`` and ``dicom``.

    Returns:
        The columns of the table between ``file`` and ``error``.
    """
    folder = predictions.folder
    # The picture of a film goes into its DICOM file, whether it is kept or not.
    is_needed = settings.dicom and not predictor.has_masks
    unwritten: list[str] = []
    batch_size = 1 if predictor.has_masks else settings.batch_size
    ahead = (settings.workers or _VOLUMES_AHEAD) if predictor.has_masks else 0
    batches = predictions.read(predictor.read, batch_size, settings.workers, predictor.doubt, ahead)
    with TemporaryDirectory() as temporary:
        for batch in batches:
            answers = predictor.predict([content for _, content in batch])
            rows, drawings = [], []
            for (file, _), answer in zip(batch, answers, strict=True):
                row = {"file": file.file, **answer.row}
                if predictor.has_masks:
                    row["mask"] = f"{MASKS}/{file.name}.nii.gz"
                    predictor.write_mask(folder / row["mask"], answer)
                row["picture"] = predictions.picture_path(file, settings.pictures)
                path = folder / (row["picture"] or Path(temporary, f"{file.number}.png"))
                if row["picture"] or is_needed:
                    doubt = predictions.doubt_of(file.file)
                    drawings.append(Drawing(path, answer, file.name, doubt))
                rows.append(row)
            predictor.draw(drawings)
            if settings.dicom:
                pictures = [drawing.path for drawing in drawings] or [Path()] * len(batch)
                for (file, _), answer, row, path in zip(
                    batch, answers, rows, pictures, strict=True
                ):
                    row["dicom"] = f"{DICOM}/{file.name}.dcm"
                    target = folder / row["dicom"]
                    if why := _archived(predictor, target, file.path, answer, path):
                        row["dicom"] = ""
                        unwritten.append(f"{file.display}: {why}")
            predictions.add(rows)
    if unwritten:
        print(f"  no DICOM file of {len(unwritten)}; the first, {unwritten[0]}")
    if settings.dicom:
        print(f"  {SAID}", flush=True)
    return [*predictor.columns, *(["dicom"] if settings.dicom else [])]


def _archived(predictor: Predictor, path: Path, source: Path, answer: Answer, picture: Path) -> str:
    """Write an answer for the archive; "", or why there is none."""
    try:
        return predictor.write_dicom(path, source, answer, picture)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a header
        return f"its header can't be taken over ({type(error).__name__})"
