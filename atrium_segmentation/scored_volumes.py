"""Whole volumes, segmented by the networks of some runs and scored, one at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atrium_segmentation.config import EvaluateSettings
from atrium_segmentation.dataset import whole_volumes
from atrium_segmentation.ensembles import shared_networks
from atrium_segmentation.inference import mask_of, open_networks, predict_volume
from atrium_segmentation.mean_shape import mean_shape_mask
from atrium_segmentation.networks import MEAN, with_mean
from atrium_segmentation.scores import mask_scores
from common.base.progress import progress
from common.imaging.volume_doubts import look_at_volume
from common.imaging.volumes import write_mask
from common.records.prepared import Prepared
from common.training.evaluation_parts import Columns, joined
from common.training.runs import Run


def score_volumes(
    members: Sequence[Run],
    prepared: Prepared,
    splits: Sequence[str],
    settings: EvaluateSettings,
    folder: Path,
    cases: pd.DataFrame,
    records: range,
) -> Columns:
    """Segment and score volumes, and write their masks.

    Args:
        members: The runs whose networks are averaged.
        prepared: The data.
        splits: Of it.
        settings: Of `inference.predict_volume` and `inference.mask_of`.
        folder: Where the masks go.
        cases: With ``case``: others are left out.
        records: The volumes, by the numbers of their records.

    Returns:
        Columns of ``case``; ``scores``, those by the name of each network and of the mean shape, as
        JSON, as of `networks.with_mean`; ``look`` (n, 229), of `look_at_volume`; and ``seconds``
        (n, networks), that of the mean for all of them.
    """
    run, networks = members[0], open_networks(members, shared_networks(members))
    values = np.array([int(value) for value in prepared.manifest["labels"]], np.uint8)
    labels = list(run.fitted["labels"].values())[1:]
    volumes, unseen = [], set(cases["case"])
    chosen = (v for v in whole_volumes(prepared, splits, records) if v["case"] in unseen)
    total = min(len(cases), len(records))
    for volume in progress(chosen, total=total, unit="volume"):
        case, masks = volume["case"], {"mean_shape": mean_shape_mask(run, volume["mask"].shape)}
        # Of one network's at a time and their sum: each is larger than its volume.
        seconds, summed, predicting_s = [], np.zeros((), np.float32), 0.0
        for network in with_mean([*networks]):
            began = time.monotonic()
            if network == MEAN:
                probabilities = np.asarray(summed / np.float32(len(networks)))
                began -= predicting_s
            else:
                probabilities = predict_volume(networks[network], volume, settings)
                summed = np.asarray(summed + probabilities)
                predicting_s += time.monotonic() - began
            masks[network] = mask_of(probabilities, volume, settings)
            seconds.append(time.monotonic() - began)
            path = folder / f"{case}-{network}.nii.gz"
            write_mask(path, values[masks[network]], volume["grid_header"])
        scores = {name: mask_scores(volume, mask, labels) for name, mask in masks.items()}
        look = look_at_volume(volume["working"], volume["working_affine"])
        columns = {"case": case, "scores": json.dumps(scores), "look": look, "seconds": seconds}
        volumes.append({name: [value] for name, value in columns.items()})
    return joined(volumes)
