"""What evaluate.py prints and draws of an atrium run's scores."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atrium_segmentation.networks import NETWORKS, in_order, title_of
from atrium_segmentation.scores import WORST_SLICES
from common.base.progress import progress
from common.base.tables import MISSING, Table, print_table
from common.imaging.volumes import read_volume
from common.reporting.charts import agreement_picture, cases_picture
from common.reporting.examples import Example, worst_typical_best
from common.reporting.gifs import Panel, Slices, write_gif, write_sheet, write_slice
from common.reporting.orthogonal_views import views_picture
from common.reporting.surface_picture import surface_picture
from common.scores.formatting import with_interval
from common.scores.surface_errors import surface_errors

ROWS = (
    ("Dice", "dice", 3),
    ("Jaccard", "jaccard", 3),
    ("surface Dice at 1 mm", "surface_dice_1mm", 3),
    ("surface Dice at 2 mm", "surface_dice_2mm", 3),
    ("HD95, mm", "hd95_mm", 2),
    ("mean surface distance, mm", "assd_mm", 2),
    ("volume error, ml", "volume_error_ml", 1),
)
"""Title, name in metrics.json and digits of every score, as they are printed."""

_LIMITS = (("lower", "low"), ("upper", "high"))

CASES, VOLUMES = "dice_by_case.png", "volumes.png"
"""The charts of an evaluation."""

FILES = (
    ("gifs", "-models.gif"),
    ("views", ".png"),
    ("gifs", "-truth.gif"),
    ("slices", "-truth.png"),
    ("slices", "-mask.png"),
    ("surfaces", ".png"),
)
"""Folder and end of the name of each picture of a case."""

# Pixels of the longer side of a slice that the report compares.
_SLICE_SIDE = 400


def draw_scores(
    folder: Path, networks: Sequence[str], cases: Sequence[Mapping[str, Any]], synthetic: bool | str
) -> None:
    """Draw the Dice of every case next to the mean shape's, and predicted against true volumes.

    Args:
        folder: The evaluation's.
        networks: Their names, the main one first.
        cases: The rows of metrics.json, one per case.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    styles = [(NETWORKS[name].colour, NETWORKS[name].marker) for name in networks]

    def by_title(score: str) -> dict[str, list[float]]:
        return {NETWORKS[name].title: [row[name][score] for row in cases] for name in networks}

    mean_shape = [row["mean_shape"]["dice"] for row in cases]
    cases_picture(folder / CASES, by_title("dice"), styles, mean_shape, "Dice", synthetic)
    truth, volumes = [row[networks[0]]["truth_ml"] for row in cases], by_title("predicted_ml")
    agreement_picture(folder / VOLUMES, truth, volumes, styles, "volume, ml", synthetic)


def draw_cases(
    folder: Path,
    networks: Sequence[str],
    cases: Sequence[Mapping[str, Any]],
    volumes: Iterable[Mapping[str, Any]],
    values: Sequence[int],
    pictures: int,
    synthetic: bool | str,
) -> list[Example]:
    """Draw the worst cases, typical ones and the best, named after their rank.

    Of each a GIF of the truth and one of the networks' masks, read from ``masks/``, each next to a
    sheet of its slices, a picture of the three orthogonal views, the slice on which the main
    network's mask and the truth differ most, once with each, and the true surface, coloured by its
    distance to the masks'.

    Args:
        folder: The evaluation's.
        networks: Their names, the main one first.
        cases: The rows of metrics.json, one per case.
        volumes: The volumes of all cases, as `dataset.whole_volumes` yields them.
        values: Of the labels in the masks' files, in order.
        pictures: How many cases at most.
        synthetic: The mark, as of `common.reporting.figures.save`.
    """
    drawn = worst_typical_best([row[networks[0]]["dice"] for row in cases], pictures)
    ranks = {cases[row]["case"]: rank for rank, row in enumerate(drawn, start=1)}
    scores, examples = {row["case"]: row for row in cases}, {}
    chosen = (volume for volume in volumes if volume["case"] in ranks)
    for volume in progress(chosen, total=len(drawn), unit="case drawn"):
        case, truth = volume["case"], volume["mask"]
        name = f"{ranks[case]:02d}-{case}"
        masks = {
            f"{NETWORKS[network].title}, Dice {scores[case][network]['dice']:.3f}": np.searchsorted(
                values, read_volume(folder / "masks" / f"{case}-{network}.nii.gz").voxels
            ).astype(np.uint8)
            for network in reversed(networks)
        }
        files = tuple(f"{kind}/{name}{end}" for kind, end in FILES)
        models_gif, views, truth_gif, slice_truth, slice_mask, surfaces = (
            folder / file for file in files
        )
        image, spacing_mm = volume["image"], volume["spacing_mm"]
        views_picture(views, image, spacing_mm, truth, masks, case, synthetic)
        both = [Panel(title, truth, mask) for title, mask in masks.items()]
        legend = f"{case}  blue: truth, red: prediction"
        slices = Slices(image, spacing_mm, both, legend, synthetic)
        only_truth = replace(slices, panels=[Panel("truth", truth)], caption=case)
        for drawn_slices, path in ((slices, models_gif), (only_truth, truth_gif)):
            write_gif(path, drawn_slices)
            write_sheet(path.with_suffix(".png"), drawn_slices)
        title, mask = list(masks.items())[-1]
        only_mask = replace(only_truth, panels=[Panel(title, prediction=mask)])
        most = int((truth != mask).sum((0, 1)).argmax())
        write_slice(slice_truth, only_truth, most, _SLICE_SIDE)
        write_slice(slice_mask, only_mask, most, _SLICE_SIDE)
        errors = {
            title: surface_errors(truth, mask, volume["affine"]) for title, mask in masks.items()
        }
        if known := {title: mask for title, mask in errors.items() if mask}:
            surface_picture(surfaces, known, spacing_mm, case, synthetic)
        examples[case] = files if known else files[:-1]
    return [
        Example(cases[row]["case"], kind, examples[cases[row]["case"]])
        for row, kind in drawn.items()
    ]


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Print every score of the networks next to the mean shape's, and the worst cases by name."""
    for table in tables(metrics):
        print_table(table)
    print()
    for sentence in validation_sentences(metrics):
        print(textwrap.fill(sentence, 100, initial_indent="  ", subsequent_indent="  "))
    for difference in differences(metrics):
        model, other = (title_of(difference[key]) for key in ("model", "minus"))
        value = with_interval(difference, "mean", sign="+")
        print(f"  {model}'s Dice less {other}'s, case by case: {value}")
    for name in metrics["models"]:
        worst = sorted(metrics["cases"], key=lambda row: row[name]["dice"])[:3]
        named = ", ".join(f"{row['case']} {row[name]['dice']:.3f}" for row in worst)
        print(f"  worst cases of {title_of(name)}: {named}")
        if slices := worst_slices(metrics, name):
            print(f"  worst slices of {title_of(name)}: {slices}")


def worst_slices(metrics: Mapping[str, Any], network: str) -> str:
    """The slices of all cases where a network's surface is furthest from the truth, in words.

    "" where an earlier version measured none.
    """
    slices = [
        (row["case"], part)
        for row in metrics["cases"]
        for part in row[network].get("worst_slices", ())
    ]
    worst = sorted(slices, key=lambda pair: -pair[1]["mean_mm"])[:WORST_SLICES]
    return ", ".join(
        f"{case} slice {part['slice']}, {part['mean_mm']:.1f} mm "
        f"({'beyond' if part['signed_mm'] > 0 else 'short of'} the truth)"
        for case, part in worst
    )


def tables(metrics: Mapping[str, Any]) -> tuple[Table, ...]:
    """All scores next to the mean shape's, their quartiles, and what the networks cost.

    What an earlier version did not measure is not in them.
    """
    models = metrics["models"]
    columns = [*models.values(), metrics["baselines"]["mean_shape"]["scores"]]
    rows, quartiles = [], []
    for title, name, digits in ROWS:
        if name not in columns[0]:
            continue
        if "quartiles" in columns[0][name]:
            quartiles.append((title, *(_quartiles(scores[name], digits) for scores in columns)))
        rows.append((title, *(with_interval(scores[name], "mean", digits) for scores in columns)))
        if name == "dice":
            lowest = (f"{scores['dice']['min']:.3f}" for scores in columns)
            rows.append(("lowest Dice of a case", *lowest))
    if "volume_difference_ml" in columns[0]:
        agreements = [scores["volume_difference_ml"] for scores in columns]
        biases = (with_interval(part, "mean", 1, "+") for part in agreements)
        rows.append(("volume, predicted less true, ml", *biases))
        for title, limit in _LIMITS:
            cells = (with_interval(part[limit], "value", 1, "+") for part in agreements)
            rows.append((f"{title} limit of agreement, ml", *cells))
    for label in metrics["labels"] if len(metrics["labels"]) > 1 else ():
        dices = (with_interval(scores["per_label"][label]["dice"], "mean") for scores in columns)
        rows.append((f"Dice, {label}", *dices))
    titles = tuple(map(title_of, models))
    memory = (model["training_peak_memory_mib"] for model in models.values())
    cost = (
        ("parameters", *(f"{model['parameters']:,}" for model in models.values())),
        ("minutes of training", *(f"{model['training_minutes']:.1f}" for model in models.values())),
        ("MiB at its peak", *(f"{peak:,}" if peak else MISSING for peak in memory)),
        ("seconds a volume", *(f"{model['seconds_per_volume']:.2f}" for model in models.values())),
    )
    head = (*titles, "mean shape")
    all_tables = [Table("", ("score", *head), tuple(rows))]
    if quartiles:
        all_tables.append(Table("", ("median (quartiles)", *head), tuple(quartiles)))
    if measured := _validation(metrics):
        in_validation = (
            ("cross-entropy", *(f"{part['crossentropy']:.4f}" for part in measured.values())),
            ("Dice of all pixels", *(f"{part['dice']:.3f}" for part in measured.values())),
        )
        measuring = (NETWORKS[name].title for name in measured)
        all_tables.append(Table("", ("validation slices", *measuring), in_validation))
    return *all_tables, Table("", ("cost", *titles), cost)


def validation_sentences(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether cross-entropy and Dice rank the networks alike, and why they may not."""
    measured = _validation(metrics)
    if len(measured) < 2:
        return ()
    by_entropy = sorted(measured, key=lambda name: measured[name]["crossentropy"])
    by_dice = sorted(measured, key=lambda name: -measured[name]["dice"])
    agree = "the same order" if by_entropy == by_dice else "another order"
    best = [NETWORKS[order[0]].title for order in (by_entropy, by_dice)]
    return (
        f"On the validation slices cross-entropy puts {best[0]} first and Dice {best[1]}: {agree}. "
        "Cross-entropy asks how sure each pixel is, and most are background; Dice asks which "
        "pixels are in the mask, and counts those of the structure alone. So a network that is "
        "surer of the background, or less sure within the atrium, can lead in one and not in the "
        "other.",
    )


def _validation(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """What training measured on the validation slices, of all networks that see them or of none."""
    measured = {
        name: metrics["models"][name].get("validation")
        for name in in_order(metrics["models"])
        if NETWORKS[name].sees == "slices"
    }
    return measured if all(measured.values()) else {}


def _quartiles(score: Mapping[str, Any], digits: int) -> str:
    first, median, third = score["quartiles"]
    return f"{median:.{digits}f} ({first:.{digits}f} to {third:.{digits}f})"


def differences(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The differences between networks; an older metrics.json has a single one."""
    if "differences" not in metrics and "unet_minus_fcn8" in metrics:
        return [{"model": "unet", "minus": "fcn8", **metrics["unet_minus_fcn8"]}]
    return list(metrics.get("differences", []))
