"""Score the networks of an atrium run on whole volumes, and show their masks.

Reads a finished run. Writes evaluation/test/ in it (or evaluation/NAME/ for --source, where
every case is a test case): metrics.json, predictions.csv (one row per volume, network and label),
masks/CASE-NETWORK.nii.gz in the grid of the case's own file, and for some cases two GIFs, the
truth and the networks side by side, a picture of the three orthogonal views, a slice with the
truth and with the mask, for report.html to compare, and the true surface, coloured by how far the
networks' are from it. Every score is taken at the volume's own spacing, next to that of the mean
training shape.

    python evaluate.py --run runs/my-run
    python evaluate.py --run runs/my-run --source another/dataset
    python evaluate.py --run runs/fold-0 --ensemble runs/fold-1 runs/fold-2
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from atrium_segmentation.config import PROJECT
from atrium_segmentation.ensembles import open_members, refuse_seen_by_others, shared_networks
from atrium_segmentation.networks import MEAN, with_mean
from common.base.backend import start_tensorflow
from common.base.command_line import parse
from common.base.errors import UserError, run_script
from common.base.files import write_csv, write_json
from common.base.parts import part_folder
from common.base.printing import print_paths, print_settings
from common.training import evaluations, runs
from common.training.trained import picture_mark


def main() -> None:
    """Evaluate a run."""
    settings = parse(PROJECT, "evaluate", __doc__)
    print_settings("Evaluate left atrium segmentation", settings, PROJECT)
    members = open_members(settings)
    run = members[0]
    name, folder = evaluations.evaluation_folder(run, settings)
    refuse_seen_by_others(members, settings)
    start_tensorflow()

    from atrium_segmentation import score_tables, scores
    from atrium_segmentation.dataset import whole_volumes
    from atrium_segmentation.odd_volumes import doubted_volumes
    from atrium_segmentation.report import write_page
    from atrium_segmentation.scored_volumes import score_volumes
    from common.reporting.examples import evaluation_files
    from common.training.evaluation_parts import Parts
    from common.training.seen import cases_to_score, note_scoring, scored_before

    place = part_folder(folder, settings.part)
    with evaluations.new_evaluation(place, "masks", "gifs", "views", "slices", "surfaces") as new:
        # -- Data: the test split, or every case of another dataset prepared in the same way.
        accept = partial(_refuse_other_labels, run, str(settings.source))
        prepared, splits = evaluations.evaluation_data(
            run, settings, folder, partial(PROJECT.prepare_to_test, accept=accept)
        )
        accept(prepared.manifest["labels"])
        to_score = partial(
            cases_to_score, members, prepared, splits, name, settings.score_seen, new
        )

        # -- Predict and score every volume, one at a time.
        score = partial(score_volumes, members, prepared, splits, settings, new / "masks")
        parts = Parts(new, members, prepared, splits, settings)
        if settings.part:
            parts.write(lambda records: score(to_score()[0], records))
            return
        cases, seen = to_score()
        columns = parts.columns(partial(score, cases))
        names, networks = columns["case"].tolist(), shared_networks(members)
        labels = list(run.fitted["labels"].values())[1:]
        patients = cases.set_index("case")["patient"]
        scored = [
            {"case": case, "patient": patients[case], **json.loads(text)}
            for case, text in zip(names, columns["scores"], strict=True)
        ]
        looks = dict(zip(names, columns["look"], strict=True))
        tested = with_mean(networks)
        seconds = dict(zip(tested, columns["seconds"].mean(axis=0), strict=True))

        # -- Write.
        mean_shape = scores.summary("mean_shape", scored, labels)
        models = {
            network: {
                **scores.summary(network, scored, labels),
                "minus_mean_shape": scores.dice_difference(network, "mean_shape", scored),
                **scores.training_cost(members, networks if network == MEAN else [network]),
                "validation": scores.validation_scores(members, network),
                "seconds_per_volume": seconds[network],
            }
            for network in tested
        }
        evaluation_settings = {
            "flip": settings.flip,
            "moves": settings.test_time_augmentation,
            "largest_component": settings.largest_component,
            "ensemble": len(members),
        }
        metrics = {
            "n": len(scored),
            "labels": labels,
            **evaluation_settings,
            "evaluation_settings": evaluation_settings,
            "seen": seen,
            "models": models,
            "baselines": {"mean_shape": {"dice": mean_shape["dice"]["mean"], "scores": mean_shape}},
            "cases": scored,
            **scores.differences(tested, scored),
        }
        metrics["scored_before"] = scored_before(run, prepared, splits)
        metrics["doubted"] = evaluations.doubted(doubted_volumes(run, looks))
        metrics |= scores.main_scores(metrics)
        rows = [
            {"case": row["case"], "patient": row["patient"], "model": network, "label": label}
            | row[network]["per_label"][label]
            for row in scored
            for network in tested
            for label in labels
        ]
        write_csv(new / "predictions.csv", rows[0], rows)
        main_first = list(reversed(networks))
        synthetic = picture_mark(run.config, prepared.manifest["synthetic"])
        volumes = whole_volumes(prepared, splits)
        values = list(map(int, prepared.manifest["labels"]))
        examples = score_tables.draw_cases(
            new, main_first, scored, volumes, values, settings.pictures, synthetic
        )
        score_tables.draw_scores(new, main_first, scored, synthetic)
        metrics["examples"] = [vars(example) for example in examples]
        metrics = evaluations.metrics_of(run, prepared, cases, name, settings, metrics)
        write_json(new / "metrics.json", metrics)
        write_page(run, new)
    evaluations.print_participants(metrics)
    score_tables.print_scores(metrics)
    note_scoring(run, prepared, splits)
    print_paths(evaluation_files(folder, examples, "masks"))


def _refuse_other_labels(run: runs.Run, source: str, labels: Mapping[Any, str]) -> None:
    """Refuse a dataset with other structures; a single one is taken for the run's, called anything.

    Their values in the masks may differ. Names that have nothing in common are told by the values.
    """
    both = (labels, run.fitted["labels"])
    # All but the background.
    theirs, trained = (
        {int(value): name for value, name in each.items() if int(value)} for each in both
    )
    names, known = ([name.casefold() for name in each.values()] for each in (theirs, trained))
    same_values = [*theirs] == [*trained] and not set(names) & set(known)
    if len(names) == len(known) and (len(names) == 1 or names == known or same_values):
        return
    has, wanted = (
        ", ".join(f"{value} {name}" for value, name in each.items()) for each in (theirs, trained)
    )
    raise UserError(
        f"{source}: has the labels {has}, and the run was trained on {wanted}; give a dataset with "
        "the same labels"
    )


if __name__ == "__main__":
    run_script(main)
