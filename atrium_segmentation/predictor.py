"""What an atrium run says of a volume: its mask and its ml, for predict.py and for `common.app`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atrium_segmentation.config import PROJECT, PredictSettings
from atrium_segmentation.dataset import read_unlabelled
from atrium_segmentation.ensembles import chosen_network, open_members, shared_networks
from atrium_segmentation.inference import mask_of, mean_of, open_networks, predict_volume
from atrium_segmentation.model_card import ABOUT
from atrium_segmentation.networks import MEAN, title_of
from atrium_segmentation.odd_volumes import volume_doubter
from common.base.command_line import parse
from common.imaging.volumes import write_mask
from common.prediction.archive import write_segmentation
from common.prediction.predictions import titled
from common.prediction.predictor import Answer, Drawing, Predictor
from common.reporting.gifs import Panel, Slices, slice_picture
from common.reporting.orthogonal_views import views_picture
from common.scores.volumes import volume_ml
from common.training.runs import Run
from common.training.trained import picture_mark

# Pixels of the longer side of a slice on the page.
_SIDE = 440
# Of more slices so many are shown, evenly chosen.
_MOST_SLICES = 400


def open_predictor(folder: Path) -> MaskPredictor:
    """A run's, with the settings that predict.py has by default.

    Raises:
        UserError: It is no run of this project, did not end, or was altered.
    """
    settings = parse(PROJECT, "predict", None, ["--run", str(folder)])
    members = open_members(settings)
    return MaskPredictor(members, chosen_network(members, settings), settings)


class MaskPredictor(Predictor):
    """The predictor of masks.

    Args:
        members: The runs whose networks are averaged.
        network: The name of the network, or `MEAN`.
        settings: Of predict.py.
    """

    about, kinds, has_masks = ABOUT, "NIfTI, or all DICOM slices of one series", True

    def __init__(self, members: Sequence[Run], network: str, settings: PredictSettings) -> None:
        self.run, self._settings = members[0], settings
        self._title = title_of(network)
        names = shared_networks(members) if network == MEAN else [network]
        self._networks = [*open_networks(members, names).values()]
        labels = self.run.fitted["labels"]
        self._values = np.array([int(value) for value in labels], np.uint8)
        self._names = list(labels.values())[1:]
        several = "the likeliest label of each voxel" if len(self._names) > 1 else ""
        self.rule = several or f"a voxel is {self._names[0]} from a probability of 0.5 on"
        self._in_ml = [f"{name.replace(' ', '_')}_ml" for name in self._names]
        self.columns = (*self._in_ml, "doubt", "mask", "picture")
        spacing_mm = self.run.config["data"]["settings"]["spacing_mm"]
        self.read = partial(read_unlabelled, spacing_mm=spacing_mm)
        self.doubt = volume_doubter(self.run)

    def predict(self, contents: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """How many ml each label has; ``result`` is (x, y, z) uint8, labels counted from 0."""
        answers = []
        for volume in contents:
            each = (predict_volume(each, volume, self._settings) for each in self._networks)
            labels = mask_of(mean_of(each), volume, self._settings)
            in_ml = {
                column: round(volume_ml(labels == label, volume["affine"]), 3)
                for label, column in enumerate(self._in_ml, start=1)
            }
            sizes = zip(self._names, in_ml.values(), strict=True)
            words = ", ".join(f"{name} {size:.1f} ml" for name, size in sizes)
            answers.append(Answer(in_ml, words, volume, labels))
        return answers

    def draw(self, drawings: Sequence[Drawing]) -> None:
        """The three orthogonal views of each volume with the mask's outline."""
        for drawing in drawings:
            volume = drawing.answer.content
            views_picture(
                drawing.path,
                volume["image"],
                volume["spacing_mm"],
                None,
                {self._title: drawing.answer.result},
                titled(drawing.name[:60], drawing.doubt),
                picture_mark(self.run.config),
            )

    def write_mask(self, path: Path, answer: Answer) -> None:
        """Write the mask as NIfTI, in the input's own grid."""
        write_mask(path, self._values[answer.result], answer.content["grid_header"])

    def write_dicom(self, path: Path, source: Path, answer: Answer, picture: Path) -> str:
        """Write the mask of a DICOM series as a Segmentation; "", or why there is none."""
        header = answer.content["grid_header"]
        return write_segmentation(path, source, answer.result, self._names, header)

    def slices(self, answer: Answer) -> list[np.ndarray]:
        """The axial slices with the mask, (height, width, 3) uint8, from the feet to the head."""
        volume, panel = answer.content, Panel(self._title, prediction=answer.result)
        image, mark = volume["image"], picture_mark(self.run.config)
        slices = Slices(image, volume["spacing_mm"], [panel], "", mark)
        count = image.shape[2]
        numbers = np.linspace(0, count - 1, min(count, _MOST_SLICES)).round().astype(int)
        return [slice_picture(slices, number, _SIDE) for number in numbers]
