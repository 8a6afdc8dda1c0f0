"""Score the networks of an atrium run, a whole volume at a time, and show their masks.

Reads a run that ended. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (a row a volume, network and label),
masks/CASE-NETWORK.nii.gz in the grid of the case's own file, and for some cases two GIFs, the
truth and the networks side by side, and a picture of the three orthogonal views. Every score is
taken at the volume's own spacing, beside that of the mean training shape.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
    python evaluate.py --run runs/fold-0 --ensemble runs/fold-1 runs/fold-2
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from atrium_segmentation import score_tables
from atrium_segmentation.config import PROJECT, EvaluateSettings
from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.printing import print_paths, print_settings


def main() -> None:
    """The script."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate left atrium segmentation", settings)

    from common.base.backend import start_tensorflow
    from common.training import runs

    run = runs.open_run(PROJECT, settings)
    name, folder = runs.evaluation_folder(run, settings)
    start_tensorflow()

    import numpy as np
    from tqdm import tqdm

    from atrium_segmentation.dataset import prepare_as_run, whole_volumes
    from atrium_segmentation.inference import further_runs, names_of, open_networks, segment
    from atrium_segmentation.report import write_page
    from atrium_segmentation.scores import differences, main_scores, scores_of, summary
    from common.base.files import write_csv, write_json
    from common.imaging.nifti import write_mask

    with runs.new_evaluation(folder, "masks", "gifs", "views") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        prepared, splits = runs.evaluation_data(
            run, settings, folder, partial(prepare_as_run, run, settings.source)
        )
        _refuse_other_labels(run, prepared)
        members = [run, *further_runs(run, settings)]
        _refuse_members_that_know(members, settings)
        cases = prepared.cases()
        cases = cases[cases["split"].isin(splits)]
        shown = runs.name_of_data(prepared.manifest, name)
        print(f"\n{shown}: {len(cases)} cases of {cases['patient'].nunique()} patients", flush=True)

        # -- Predict and score every volume, one at a time.
        networks = open_networks(members, names_of(members))
        mean_shapes = _mean_shapes(run)
        values = np.array([int(value) for value in run.fitted["labels"]], np.uint8)
        labels = list(run.fitted["labels"].values())[1:]
        patients = cases.set_index("case")["patient"]
        scored, seconds = [], dict.fromkeys(networks, 0.0)
        for volume in tqdm(
            whole_volumes(prepared, splits), total=len(cases), unit="volume", file=sys.stdout
        ):
            case, found = volume["case"], {"mean_shape": mean_shapes(volume["mask"].shape)}
            for network, models in networks.items():
                began = time.monotonic()
                found[network] = segment(models, volume, settings)
                seconds[network] += time.monotonic() - began
                path = new / "masks" / f"{case}-{network}.nii.gz"
                write_mask(path, values[found[network]], volume["grid_header"])
            scores = {what: scores_of(volume, mask, labels) for what, mask in found.items()}
            scored.append({"case": case, "patient": patients[case], **scores})

        # -- Write.
        mean_shape = summary("mean_shape", scored, labels, settings.seed)
        models = {
            network: {
                **summary(network, scored, labels, settings.seed),
                **_training(members, network),
                "seconds_per_volume": seconds[network] / len(scored),
            }
            for network in networks
        }
        how = {
            "flip": settings.flip,
            "moves": settings.test_time_augmentation,
            "largest_component": settings.largest_component,
            "ensemble": len(members),
        }
        metrics = {
            "n": len(scored),
            "labels": labels,
            **how,
            "evaluation_settings": how,
            "models": models,
            "baselines": {"mean_shape": {"dice": mean_shape["dice"]["mean"], "scores": mean_shape}},
            "cases": scored,
            **differences(list(networks), scored, settings.seed),
            **main_scores(models, mean_shape, labels, len(scored)),
        }
        rows = [
            {
                "case": row["case"],
                "patient": row["patient"],
                "model": network,
                "label": label,
                **row[network]["per_label"][label],
            }
            for row in scored
            for network in networks
            for label in labels
        ]
        write_csv(new / "predictions.csv", rows[0], rows)
        main_first = list(reversed(networks))
        examples = score_tables.draw_cases(
            new,
            main_first,
            scored,
            whole_volumes(prepared, splits),
            settings.pictures,
            run.config["synthetic"],
        )
        score_tables.draw_scores(new, main_first, scored, run.config["synthetic"])
        metrics["examples"] = [vars(one) for one in examples]
        write_json(
            new / "metrics.json",
            runs.metrics_of(run, prepared, cases, name, settings, metrics),
        )
        page = write_page(run, new)
    score_tables.print_scores(metrics)
    print_paths(
        [
            folder / page.name,
            *(folder / file for file in ("metrics.json", "predictions.csv")),
            *sorted(folder.glob("*.png")),
            folder / "masks",
            *(folder / file for one in examples for file in one.files),
        ]
    )


def _training(members: Sequence[Any], network: str) -> dict[str, Any]:
    """What a network took, all members of an ensemble together."""
    of = [one.fitted["models"][network] for one in members]
    peaks = [one["peak_memory_mib"] for one in of if one["peak_memory_mib"]]
    return {
        "parameters": sum(one["parameters"] for one in of),
        "training_minutes": sum(one["seconds"] for one in of) / 60,
        "training_peak_memory_mib": max(peaks, default=None),
    }


def _mean_shapes(run: Any) -> Any:
    """A function of a volume's shape (x, y, z) to the mean training shapes over it, labels."""
    import numpy as np

    from common.imaging.grids import resample

    means = np.load(run.folder / "mean_shape.npz")["means"]
    thresholds = run.fitted["mean_shape_thresholds"]

    def over(shape: tuple[int, int, int]) -> Any:
        mask = np.zeros(shape, np.uint8)
        for label, (mean, threshold) in enumerate(zip(means, thresholds, strict=True), start=1):
            mask[resample(mean.T, shape) >= threshold] = label
        return mask

    return over


def _refuse_members_that_know(members: Sequence[Any], settings: EvaluateSettings) -> None:
    """Refuse members of an ensemble that learned from the validation split that is scored."""
    run, *others = members
    for member in others if settings.split == "validation" else ():
        fold, of_run = (one.config["settings"]["fold"] for one in (member, run))
        if fold != of_run:
            raise UserError(
                f"{member.folder}: was trained on the validation split of {run.folder}; score the "
                "test split"
            )


def _refuse_other_labels(run: Any, prepared: Any) -> None:
    labels, trained = prepared.manifest["labels"], run.fitted["labels"]
    if set(labels) != set(trained):
        raise UserError(
            f"{prepared.manifest['source']}: has the labels {', '.join(labels)}, and the run was "
            f"trained on {', '.join(trained)}; give a dataset with the same labels"
        )


if __name__ == "__main__":
    run_script(main)
