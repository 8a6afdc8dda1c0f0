"""Predict the left atrium's mask on volumes without masks.

Reads a finished run, and volumes or folders of them: NIfTI, DICOM series (of each the folder with
its slices), NRRD and MetaImage. Writes predictions.csv (one row per volume: how many ml each label
has, and why it is doubted), masks/ (NIfTI, in the input's own grid), pictures/
(the three orthogonal views with the mask's outline), model_card.md and predictions.json. What
cannot be read is named, and its row says why. The same command resumes an interrupted run.

    python predict.py volumes/ another.nii.gz --run runs/my-run --output predictions
    python predict.py volumes/ --run runs/fold-0 --ensemble runs/fold-1 runs/fold-2
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from atrium_segmentation.config import PROJECT, PredictSettings
from atrium_segmentation.ensembles import open_members, shared_networks
from atrium_segmentation.model_card import ABOUT
from atrium_segmentation.networks import NETWORKS
from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.files import lock_folder
from common.base.printing import print_paths, print_settings
from common.imaging.volume_names import SUFFIXES, is_slice, is_volume, volume_of
from common.prediction.inputs import find_inputs
from common.prediction.predictions import begin_predictions, titled
from common.reporting.model_card import model_hashes
from common.training.runs import Run
from common.training.trained import picture_mark


def main() -> None:
    """Predict every volume that has no row yet, prepared and segmented as for evaluate.py."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict the left atrium in MRI volumes", settings, PROJECT)
    members = open_members(settings)
    run, network = members[0], _network(members, settings)
    folder = settings.output or run.folder / "predictions"
    files = find_inputs(
        settings.inputs,
        "NIfTI",
        lambda path: is_volume(path) or is_slice(path),
        SUFFIXES,
        folder,
        volume_of,
        settings.ids,
    )
    with lock_folder(folder):
        ensemble = [model_hashes(member.folder) for member in members[1:]]
        predictions = begin_predictions(
            folder, files, run, settings, network=network, ensemble=ensemble
        )
        if predictions is None:
            return
        title, columns = NETWORKS[network].title, _volume_columns(run)
        print(f"\n{len(files)} files; the network is {title}", flush=True)
        start_tensorflow()

        import numpy as np

        from atrium_segmentation.dataset import read_unlabelled
        from atrium_segmentation.inference import open_networks, segment
        from atrium_segmentation.odd_volumes import volume_doubter
        from common.imaging.volumes import write_mask
        from common.reporting.orthogonal_views import views_picture
        from common.scores.volumes import volume_ml

        models = open_networks(members, [network])[network]
        values = np.array([int(value) for value in run.fitted["labels"]], np.uint8)
        read = partial(read_unlabelled, spacing_mm=run.config["data"]["settings"]["spacing_mm"])
        doubt = volume_doubter(run)
        # A volume is a batch of slices already.
        for [(file, volume)] in predictions.read(read, 1, settings.workers, doubt):
            labels, spacing_mm = segment(models, volume, settings), volume["spacing_mm"]
            mask = f"masks/{file.name}.nii.gz"
            write_mask(folder / mask, values[labels], volume["grid_header"])
            picture = predictions.picture_path(file, settings.pictures)
            if picture:
                masks, synthetic = {title: labels}, picture_mark(run.config)
                views_picture(
                    folder / picture,
                    volume["image"],
                    spacing_mm,
                    None,
                    masks,
                    titled(file.name[:60], predictions.doubt_of(file.file)),
                    synthetic,
                )
            in_ml = {
                column: round(volume_ml(labels == label, volume["affine"]), 3)
                for label, column in enumerate(columns, start=1)
            }
            row = {"file": file.file, **in_ml}
            predictions.add([{**row, "mask": mask, "picture": picture}])
        written = predictions.finish(run, ABOUT, [*columns, "doubt", "mask", "picture"])
    print_paths(written)


def _network(members: Sequence[Run], settings: PredictSettings) -> str:
    names = shared_networks(members)
    if settings.network == "auto":
        return names[-1]
    if settings.network not in names:
        raise UserError(f"--network {settings.network}: the run has {', '.join(names)} alone")
    return settings.network


def _volume_columns(run: Run) -> list[str]:
    """A column for each label but the background."""
    return [f"{name.replace(' ', '_')}_ml" for name in list(run.fitted["labels"].values())[1:]]


if __name__ == "__main__":
    run_script(main)
