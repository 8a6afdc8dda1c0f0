"""Ask an atrium run about volumes that have no mask.

Reads a run that ended, and NIfTI files or folders of them. Writes predictions.csv (a row a file:
the volume of each label in ml), masks/ (NIfTI, in the grid of the file itself), pictures/ (the
three orthogonal views with the mask's outline), model_card.md and predictions.json. A file that
cannot be read is named, and its row says why. Started again, it goes on, or says that all is there.

    python predict.py volumes/ another.nii.gz --run runs/my-run --output said
    python predict.py volumes/ --run runs/fold-0 --ensemble runs/fold-1 runs/fold-2
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from atrium_segmentation.config import PROJECT, PredictSettings
from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.printing import print_paths, print_settings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict the left atrium in MRI volumes", settings)

    from atrium_segmentation.inference import further_runs
    from atrium_segmentation.model_card import ABOUT
    from atrium_segmentation.networks import NETWORKS
    from common.base.files import lock_folder
    from common.imaging.nifti import is_nifti
    from common.imaging.nifti_file import SUFFIXES
    from common.prediction import inputs
    from common.prediction.predictions import begin_predictions
    from common.reporting.model_card import model_hashes
    from common.training import runs

    run = runs.open_run(PROJECT, settings)
    members = [run, *further_runs(run, settings)]
    network = _network(members, settings)
    folder = settings.output or run.folder / "predictions"
    volumes = inputs.find_inputs(settings.inputs, "NIfTI", is_nifti, SUFFIXES, folder)
    with lock_folder(folder):
        others = [model_hashes(member.folder) for member in members[1:]]
        predictions = begin_predictions(
            folder, volumes, run, settings, network=network, ensemble=others
        )
        if predictions is None:
            return
        print(f"\n{len(volumes)} files; asked is {NETWORKS[network].title}", flush=True)
        _predict(predictions, members, network, settings)
        written = predictions.finish(run, ABOUT, [*_in_ml(run), "mask", "picture"])
    print_paths(written)


def _predict(
    predictions: Any, members: Sequence[Any], network: str, settings: PredictSettings
) -> None:
    """Every volume that has no row yet: as train.py saw its own, as evaluate.py scores them."""
    from common.base.backend import start_tensorflow

    start_tensorflow()

    import numpy as np

    from atrium_segmentation.dataset import read_unlabelled
    from atrium_segmentation.inference import open_networks, segment
    from atrium_segmentation.networks import NETWORKS
    from common.imaging.nifti import write_mask
    from common.reporting.orthogonal_views import views_picture
    from common.scores.volumes import volume_ml

    run = members[0]
    models = open_networks(members, [network])[network]
    values = np.array([int(value) for value in run.fitted["labels"]], np.uint8)
    read = partial(read_unlabelled, spacing_mm=run.config["data"]["settings"]["spacing_mm"])
    # A volume is a batch of slices already.
    for [(one, volume)] in predictions.read(read, 1, settings.workers):
        labels = segment(models, volume, settings)
        mask = f"masks/{one.name}.nii.gz"
        write_mask(predictions.folder / mask, values[labels], volume["grid_header"])
        picture = predictions.picture_path(one, settings.pictures)
        if picture:
            views_picture(
                predictions.folder / picture,
                volume["image"],
                volume["spacing_mm"],
                None,
                {NETWORKS[network].title: labels},
                one.name[:60],
                run.config["synthetic"],
            )
        in_ml = {
            column: round(volume_ml(labels == label, volume["spacing_mm"]), 3)
            for label, column in enumerate(_in_ml(run), start=1)
        }
        predictions.add([{"file": one.file, **in_ml, "mask": mask, "picture": picture}])


def _network(members: Sequence[Any], settings: PredictSettings) -> str:
    from atrium_segmentation.inference import names_of

    names = names_of(members)
    if settings.network == "auto":
        return names[-1]
    if settings.network not in names:
        raise UserError(f"--network {settings.network}: the run has {', '.join(names)} alone")
    return settings.network


def _in_ml(run: Any) -> list[str]:
    """A column for each label but the background."""
    return [f"{name.replace(' ', '_')}_ml" for name in list(run.fitted["labels"].values())[1:]]


if __name__ == "__main__":
    run_script(main)
