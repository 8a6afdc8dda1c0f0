"""The atrium's scores that reports of the field ask for, through its scripts."""

from __future__ import annotations

import csv
import json
import shutil
import tracemalloc

import nibabel
import numpy as np
import pytest
from PIL import Image

from atrium_segmentation.scores import validation_scores
from common.scores.surface_dice import surface_dice
from common.training.runs import Run
from tests.helpers.scripts import run

PROJECT = "atrium_segmentation"
MODELS = ("fcn8", "unet")


@pytest.fixture(scope="module")
def once(whole):
    return whole(PROJECT)


def rows_of(once, model):
    return [row for row in once.predictions if row["model"] == model]


def test_the_main_scores_are_those_of_the_networks_and_of_predictions_csv(once):
    metrics = once.metrics
    shape = metrics["baselines"]["mean_shape"]["scores"]["dice"]
    names = [score["name"] for score in metrics["main_scores"]]
    assert names == ["Dice, unet", "Dice, fcn8", "Dice, mean"]
    assert [f"Dice, {name}" for name in metrics["models"]] == [names[1], names[0], names[2]]
    for score in metrics["main_scores"]:
        model = metrics["models"][score["name"].removeprefix("Dice, ")]
        assert (score["value"], score["ci95"]) == (model["dice"]["mean"], model["dice"]["ci95"])
        assert (score["baseline"], score["baseline_ci95"]) == (shape["mean"], shape["ci95"])
        assert score["baseline_name"] == "the mean shape" and score["n_of"] is None
        assert score["difference"]["value"] == pytest.approx(score["value"] - shape["mean"])
        source = score["from"]
        rows = [
            float(row[source["column"]])
            for row in once.predictions
            if source["where"].items() <= row.items()
        ]
        assert source["statistic"] == "mean" and np.mean(rows) == pytest.approx(score["value"])
    assert set(metrics["truth_columns"]) <= set(once.predictions[0])
    settings = metrics["evaluation_settings"]
    assert settings == {name: metrics[name] for name in settings}
    assert set(settings) == {"flip", "moves", "ensemble", "largest_component"}
    assert metrics["main_scores_of_groups"] == []


@pytest.mark.parametrize("model", MODELS)
def test_surface_dice_is_that_of_the_masks_in_their_files(once, model):
    for row in rows_of(once, model):
        truth = nibabel.load(once.sample / "labelsTr" / f"{row['case']}.nii.gz")
        mask = nibabel.load(once.evaluation / "masks" / f"{row['case']}-{model}.nii.gz")
        masks = [np.asarray(file.dataobj) > 0 for file in (truth, mask)]
        spacing_mm = truth.header.get_zooms()[:3]
        expected = surface_dice(*masks, spacing_mm, (1, 2))
        scores = [float(row[f"surface_dice_{mm}mm"]) for mm in (1, 2)]
        assert scores == pytest.approx(expected, abs=1e-6)
    for mm in (1, 2):
        scores = [float(row[f"surface_dice_{mm}mm"]) for row in rows_of(once, model)]
        mean = once.metrics["models"][model][f"surface_dice_{mm}mm"]["mean"]
        assert mean == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("model", MODELS)
def test_volumes_have_a_signed_error_with_limits_and_scores_have_quartiles(once, model):
    rows = rows_of(once, model)
    errors = [float(row["predicted_ml"]) - float(row["truth_ml"]) for row in rows]
    scores = once.metrics["models"][model]
    difference = scores["volume_difference_ml"]
    assert difference["mean"] == pytest.approx(np.mean(errors))
    spread = 1.959964 * np.std(errors, ddof=1)
    assert difference["low"]["value"] == pytest.approx(np.mean(errors) - spread)
    assert difference["high"]["value"] == pytest.approx(np.mean(errors) + spread)
    assert difference["high"]["ci95_reason"] == "under 5 patients"
    dices = [float(row["dice"]) for row in rows]
    assert scores["dice"]["quartiles"] == pytest.approx(np.percentile(dices, [25, 50, 75]))
    quartiles = np.percentile(np.abs(errors), [25, 50, 75])
    assert scores["volume_error_ml"]["quartiles"] == pytest.approx(quartiles)


def test_cross_entropy_stands_beside_dice_as_training_measured_it(once):
    for model in MODELS:
        with open(once.run / model / "history.csv") as file:
            epochs = list(csv.DictReader(file))
        kept = min(epochs, key=lambda row: float(row["val_loss"]))
        validation = once.metrics["models"][model]["validation"]
        entropy, dice = validation["crossentropy"], validation["dice"]
        assert entropy == pytest.approx(float(kept["val_pixel_crossentropy"]))
        assert dice == pytest.approx(float(kept["val_dice"]))
        # The preset's loss is soft Dice and the cross-entropy, so the latter is a part of it.
        assert 0 < entropy < float(kept["val_loss"])
    measured = {model: once.metrics["models"][model]["validation"] for model in MODELS}
    same = (measured["unet"]["crossentropy"] < measured["fcn8"]["crossentropy"]) == (
        measured["unet"]["dice"] > measured["fcn8"]["dice"]
    )
    words = "the same order" if same else "another order"
    page = (once.evaluation / "report.html").read_text()
    for text in (" ".join(once.said["evaluate"].split()), page):
        assert words in text and "how sure each pixel is" in text


def test_everything_is_printed_and_on_the_page(once):
    page = (once.evaluation / "report.html").read_text()
    for title in (
        *("surface Dice at 1 mm", "surface Dice at 2 mm", "volume, predicted less true, ml"),
        *("lower limit of agreement, ml", "upper limit of agreement, ml", "median (quartiles)"),
        "cross-entropy",
    ):
        assert title in once.said["evaluate"] and title in page, title


def test_a_run_without_cross_entropy_has_none_and_its_page_can_be_written(once, tmp_path):
    copy = shutil.copytree(once.run, tmp_path / "run")
    file = copy / "evaluation" / "test" / "metrics.json"
    older = json.loads(file.read_text())
    shape = older["baselines"]["mean_shape"]["scores"]
    for scores in (*older["models"].values(), shape):
        for name in ("surface_dice_1mm", "surface_dice_2mm", "volume_difference_ml", "validation"):
            scores.pop(name, None)
        for score in scores.values():
            if isinstance(score, dict):
                score.pop("quartiles", None)
    file.write_text(json.dumps(older))
    run(PROJECT, "report", file.parent)
    page = (file.parent / "report.html").read_text()
    assert "surface Dice at 1 mm" not in page and "how sure each pixel is" not in page
    assert "Jaccard" in page


@pytest.mark.parametrize("column", ["val_pixel_crossentropy", "val_unet_mask_pixel_crossentropy"])
def test_an_epoch_without_cross_entropy_has_none(tmp_path, column):
    (tmp_path / "unet").mkdir()
    history = tmp_path / "unet" / "history.csv"
    dice = column.replace("pixel_crossentropy", "dice")
    history.write_text(f"epoch,val_loss,{dice},{column}\n1,0.5,0.6,\n2,0.4,0.7,0.25\n")
    of_run = Run(tmp_path, {"settings": {"monitor": "val_loss"}}, {})
    assert validation_scores([of_run], "unet") == {"crossentropy": 0.25, "dice": 0.7}
    history.write_text(f"epoch,val_loss,{dice},{column}\n1,0.3,0.6,\n2,0.4,0.7,0.25\n")
    assert validation_scores([of_run], "unet") is None
    history.write_text(f"epoch,val_loss,{dice}\n1,0.3,0.6\n")
    assert validation_scores([of_run], "unet") is None


def test_the_worst_slices_are_named(once):
    rows = [(row, of) for row in once.metrics["cases"] for of in row["unet"]["worst_slices"]]
    row, worst = max(rows, key=lambda pair: pair[1]["mean_mm"])
    file = once.sample / "labelsTr" / f"{row['case']}.nii.gz"
    slices = nibabel.as_closest_canonical(nibabel.load(file)).shape[2]
    assert 1 <= worst["slice"] <= slices
    side = "beyond" if worst["signed_mm"] > 0 else "short of"
    named = f"{row['case']} slice {worst['slice']}, {worst['mean_mm']:.1f} mm ({side} the truth)"
    assert f"worst slices of U-Net: {named}" in once.said["evaluate"]


def test_the_truth_is_the_mask_in_its_file(once):
    for row in once.predictions:
        mask = nibabel.load(once.sample / "labelsTr" / f"{row['case']}.nii.gz")
        voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
        truth_ml = np.count_nonzero(np.asarray(mask.dataobj)) * voxel_ml
        assert float(row["truth_ml"]) == pytest.approx(truth_ml, rel=1e-4)


def test_the_true_surface_is_drawn_of_each_case_that_has_views(once):
    views = sorted(path.stem for path in (once.evaluation / "views").glob("*.png"))
    surfaces = sorted(path.stem for path in (once.evaluation / "surfaces").glob("*.png"))
    assert views and surfaces == views


@pytest.mark.slow
def test_another_source_has_its_own_values_in_its_masks_and_the_same_scores(once, tmp_path):
    def source(name, value):
        folder = tmp_path / name
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind).mkdir(parents=True)
            for file in sorted((once.sample / kind).glob("*.nii.gz"))[:2]:
                shutil.copy(file, folder / kind)
        for file in (folder / "labelsTr").iterdir():
            mask = nibabel.load(file)
            voxels = np.asarray(mask.dataobj, np.uint8) * value
            nibabel.save(nibabel.Nifti1Image(voxels, mask.affine), file)
        labels = {"0": "background", f"{value}": "left atrium"}
        (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
        run(PROJECT, "evaluate", "--run", once.run, "--source", folder, "--score-seen",
            "--pictures", 1, "--name", name)  # fmt: skip
        return once.run / "evaluation" / name

    ones, others = source("ones", 1), source("others", 255)
    scores = [
        json.loads((folder / "metrics.json").read_text())["cases"] for folder in (ones, others)
    ]
    assert scores[0] == scores[1]
    for mask in (others / "masks").iterdir():
        assert set(np.unique(nibabel.load(mask).dataobj)) <= {0, 255}
    for picture in (ones / "slices").iterdir():
        drawn, same = (np.array(Image.open(f / "slices" / picture.name)) for f in (ones, others))
        assert np.array_equal(drawn, same), "where truth and mask differ most"


def test_the_mean_shape_is_fitted_to_a_volume_at_a_time(once, tmp_path, monkeypatch):
    from atrium_segmentation import mean_shape
    from common.records.prepared import open_prepared

    def volumes(prepared, splits):
        return ({"mask": np.full((96, 96, 96), number % 2, np.uint8)} for number in range(80))

    monkeypatch.setattr(mean_shape, "Volumes", volumes)
    prepared = open_prepared(once.prepared, PROJECT)
    tracemalloc.start()
    assert len(mean_shape.fit_mean_shapes(tmp_path, prepared, ["train"])) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 80 masks are 68 MiB, 80 shapes in float32 60; one mask, its float32 and the shapes' bytes 21.
    assert peak < 40 << 20
    with np.load(tmp_path / mean_shape.FILE) as stored:
        np.testing.assert_array_equal(stored["means"], np.float32(0.5))


def test_a_mean_is_of_all_and_holds_two_at_once():
    from atrium_segmentation.inference import mean_of

    def parts():
        rng = np.random.default_rng(0)
        return (rng.random(1 << 20, np.float32) for _ in range(12))

    tracemalloc.start()
    mean = mean_of(parts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mean.dtype == np.float32 and peak < 17 << 20  # of 48 MiB
    np.testing.assert_allclose(mean, np.mean([*parts()], axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (None, "that difference has no interval (one patient), so neither is shown to be better."),
        ([0.1, 0.2], "the interval of that difference leaves out 0."),
        ([-0.1, 0.2], "the interval of that difference holds 0, so neither is shown to be better."),
    ],
)
def test_a_difference_without_an_interval_shows_nothing(limits, words):
    from atrium_segmentation.report import _answer

    scores = {name: {"mean": 0.9, "min": 0.8} for name in ("dice", "assd_mm", "volume_error_ml")}
    difference = {"model": "unet", "minus": "fcn8", "mean": 0.13, "ci95": limits}
    metrics = {
        "models": {"unet": scores},
        "baselines": {"mean_shape": {"dice": 0.5}},
        "differences": [{**difference, "ci95_reason": "one patient"}],
    }
    sentences = _answer(metrics, "unet")
    assert any(f"is 0.130 above FCN-8's; {words}" in sentence for sentence in sentences)


def test_the_mean_costs_what_the_networks_do_that_all_runs_have():
    from atrium_segmentation.scores import training_cost
    from common.training.runs import Run

    def run_with(*names):
        one = {"parameters": 10, "seconds": 60, "peak_memory_mib": 5}
        return Run(None, {}, {"models": dict.fromkeys(names, one)})

    members = [run_with("unet", "fcn8"), run_with("unet", "fcn8", "unet3d")]
    cost = training_cost(members, ["fcn8", "unet"])
    assert cost == {
        "parameters": 40, "training_minutes": 4, "training_peak_memory_mib": 5
    }  # fmt: skip
