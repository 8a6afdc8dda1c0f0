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

from atrium_segmentation.config import PROJECT
from atrium_segmentation.ensembles import chosen_network, open_members
from atrium_segmentation.model_card import ABOUT
from atrium_segmentation.networks import title_of
from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import run_script
from common.base.files import lock_folder
from common.base.parts import part_folder
from common.base.printing import counted, print_paths, print_settings
from common.imaging.volume_names import SUFFIXES, is_slice, is_volume, volume_of
from common.prediction.inputs import find_inputs
from common.prediction.predictions import begin_predictions
from common.reporting.model_card import model_hashes

# A volume is a batch of slices already.
_VOLUMES_AT_ONCE = 1


def main() -> None:
    """Predict every volume that has no row yet, prepared and segmented as for evaluate.py."""
    settings = parse(PROJECT, "predict", __doc__)
    print_settings("Predict the left atrium in MRI volumes", settings, PROJECT)
    members = open_members(settings)
    run, network = members[0], chosen_network(members, settings)
    output = settings.output or run.folder / "predictions"
    files = find_inputs(
        settings.inputs,
        "NIfTI, NRRD, MetaImage or DICOM",
        lambda path: is_volume(path) or is_slice(path),
        SUFFIXES,
        output,
        volume_of,
        settings.ids,
    )
    folder = part_folder(output, settings.part)
    with lock_folder(folder):
        ensemble = [model_hashes(member.folder) for member in members[1:]]
        predictions = begin_predictions(
            folder, files, run, settings, _VOLUMES_AT_ONCE, network=network, ensemble=ensemble
        )
        if predictions is None:
            return
        files_counted = counted(len(predictions.inputs), "file")
        print(f"\n{files_counted}; the network is {title_of(network)}", flush=True)
        start_tensorflow()

        from atrium_segmentation.predictor import MaskPredictor
        from common.prediction.predictor import predict_all

        predictor = MaskPredictor(members, network, settings)
        columns = predict_all(predictions, predictor, settings)
        written = predictions.finish(run, ABOUT, columns)
    print_paths(written)


if __name__ == "__main__":
    run_script(main)
