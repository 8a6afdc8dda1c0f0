"""What evaluate.py prints and draws."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atrium_segmentation.networks import TITLES

ROWS = (
    ("Dice", "dice", 3),
    ("Jaccard", "jaccard", 3),
    ("HD95, mm", "hd95_mm", 2),
    ("mean surface distance, mm", "assd_mm", 2),
    ("volume error, ml", "volume_error_ml", 1),
)
"""Title, name in metrics.json and digits of every score, as they are printed."""


def print_scores(metrics: dict[str, Any]) -> None:
    """Every score of the networks beside the mean shape's, and the worst cases by name."""
    models = metrics["models"]
    columns = [*models.values(), metrics["baselines"]["mean_shape"]["scores"]]

    def line(title: str, cells: Sequence[str]) -> None:
        print(f"  {title:<27}{''.join(f'{cell:<23}' for cell in cells)}".rstrip())

    print()
    line("", [*(TITLES[name] for name in models), "mean shape"])
    for title, name, digits in ROWS:
        line(title, [_with_interval(of[name], digits) for of in columns])
        if name == "dice":
            line("lowest Dice of a case", [f"{of['dice']['min']:.3f}" for of in columns])
    for label in metrics["labels"] if len(metrics["labels"]) > 1 else ():
        line(
            f"Dice, {label}", [_with_interval(of["per_label"][label]["dice"], 3) for of in columns]
        )
    line("parameters", [f"{of['parameters']:,}" for of in models.values()])
    line("minutes of training", [f"{of['training_minutes']:.1f}" for of in models.values()])
    memory = [of["training_peak_memory_mib"] for of in models.values()]
    line("MiB at its peak", [f"{peak:,}" if peak else "-" for peak in memory])
    line("seconds a volume", [f"{of['seconds_per_volume']:.2f}" for of in models.values()])
    if "unet_minus_fcn8" in metrics:
        difference = metrics["unet_minus_fcn8"]
        low, high = difference["ci95"]
        print(
            f"\n  U-Net's Dice less FCN-8's, case by case: {difference['mean']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}]"
        )
    for name in models:
        worst = sorted(metrics["cases"], key=lambda row: row[name]["dice"])[:3]
        named = ", ".join(f"{row['case']} {row[name]['dice']:.3f}" for row in worst)
        print(f"  worst cases of {TITLES[name]}: {named}")


def draw(
    folder: Path,
    cases: list[dict[str, Any]],
    volumes: Any,
    pictures: int,
    synthetic: bool,
) -> list[Path]:
    """The worst case, the best, and some between, named after their rank.

    Of each a GIF of the truth and one of the networks' masks, read from ``masks/``, and a picture
    of the three orthogonal views.

    Args:
        folder: The evaluation's.
        cases: The rows of metrics.json, a case each.
        volumes: The volumes of all cases, as `slices.whole_volumes` yields them.
        pictures: How many cases at most.
        synthetic: Whether the data was made up.
    """
    import numpy as np
    from tqdm import tqdm

    from common.gifs import Panel, write_gif
    from common.nifti import read_volume
    from common.views import views_picture

    networks = [name for name in TITLES if name in cases[0]]
    order = np.argsort([row[networks[-1]]["dice"] for row in cases])
    places = np.unique(np.linspace(0, len(order) - 1, pictures).round().astype(int))
    drawn = {cases[order[place]]["case"]: place for place in places[:pictures]}
    scores, written = {row["case"]: row for row in cases}, []
    shown = (one for one in volumes if one["case"] in drawn)
    for volume in tqdm(shown, total=len(drawn), unit="case drawn", file=sys.stdout):
        case, truth = volume["case"], volume["mask"]
        name = f"{drawn[case] + 1:02d}-{case}"
        masks = {
            f"{TITLES[network]}, Dice {scores[case][network]['dice']:.3f}": read_volume(
                folder / "masks" / f"{case}-{network}.nii.gz"
            ).voxels.astype(np.uint8)
            for network in networks
        }
        panels = [Panel(title, truth, mask) for title, mask in masks.items()]
        legend = f"{case}  blue: truth, red: prediction"
        image, spacing_mm = volume["image"], volume["spacing_mm"]
        written += [
            write_gif(
                folder / "gifs" / f"{name}-truth.gif",
                image,
                spacing_mm,
                [Panel("truth", truth)],
                case,
                synthetic,
            ),
            write_gif(
                folder / "gifs" / f"{name}-models.gif", image, spacing_mm, panels, legend, synthetic
            ),
            views_picture(
                folder / "views" / f"{name}.png", image, spacing_mm, truth, masks, case, synthetic
            ),
        ]
    return written


def _with_interval(score: dict[str, Any], digits: int) -> str:
    ends = score.get("ci95")
    interval = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
    return f"{score['mean']:.{digits}f}{interval}"
