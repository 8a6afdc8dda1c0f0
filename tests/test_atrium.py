"""The atrium project through its scripts: masks, scores, pictures, several labels, ensembles."""

from __future__ import annotations

import itertools
import json
import shutil

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import distance_transform_edt

from atrium_segmentation.dataset import percentiles, read_unlabelled
from common.base.errors import UnusableError
from common.scores.volumes import volume_scores
from tests.helpers.fixtures import write_nifti
from tests.helpers.scripts import TINY, TINY_DATA, copy_run, refused, run

PROJECT = "atrium_segmentation"


@pytest.fixture(scope="module")
def once(whole):
    return whole(PROJECT)


def the_file(sample, case, folder="labelsTr"):
    return nibabel.load(sample / folder / f"{case}.nii.gz")


@given(
    values=st.lists(st.integers(-3000, 70000) | st.just(7), min_size=1, max_size=60),
    part=st.sampled_from([1, 1, 1, 0.25, 1e-3]),
)
def test_counted_percentiles_are_numpys(values, part):
    voxels = (np.array(values) * part).astype(np.float32).reshape(1, 1, -1)
    wanted = [0.5, 50, 99.5]
    np.testing.assert_array_equal(percentiles(voxels, wanted), np.percentile(voxels, wanted))


@pytest.mark.parametrize("value", [0, 17, np.nan])
def test_a_volume_that_shows_nothing_is_refused_and_not_empty_of_atrium(tmp_path, value):
    values = np.full((4, 5, 6), value, np.float32)
    values[0, 0, 0] = 17 if np.isnan(value) else value
    with pytest.raises(UnusableError, match=r"all its voxels are one value; export it again"):
        read_unlabelled(write_nifti(tmp_path / "v.nii.gz", values), (0, 0, 0))


def test_a_voxel_that_is_no_number_is_told_and_moves_no_window(tmp_path):
    values = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    good = read_unlabelled(write_nifti(tmp_path / "good.nii.gz", values), (0, 0, 0))
    values[0, 0, 0] = np.nan  # it was the least
    holed = read_unlabelled(write_nifti(tmp_path / "holed.nii.gz", values), (0, 0, 0))
    assert good["doubt"] == "" and holed["doubt"].startswith("1 of 120 voxels are NaN or infinite")
    assert np.abs(holed["image"].astype(int) - good["image"]).max() <= 2


def test_both_networks_and_their_mean_are_scored_on_whole_volumes(once):
    assert list(once.metrics["models"]) == ["fcn8", "unet", "mean"]
    for name, model in once.metrics["models"].items():
        rows = [row for row in once.predictions if row["model"] == name]
        dices = [float(row["dice"]) for row in rows]
        assert model["dice"]["mean"] == pytest.approx(np.mean(dices))
        assert model["dice"]["min"] == pytest.approx(min(dices))
        errors = [float(row["predicted_ml"]) - float(row["truth_ml"]) for row in rows]
        assert model["volume_error_ml"]["mean"] == pytest.approx(np.mean(np.abs(errors)))
        for score in ("dice", "jaccard", "hd95_mm", "assd_mm", "volume_error_ml"):
            low, high = model[score]["ci95"]
            assert low <= model[score]["mean"] <= high
        assert model["parameters"] > 0 and model["training_minutes"] > 0
    assert 0 < once.metrics["baselines"]["mean_shape"]["dice"] < 1
    costs = [once.metrics["models"][name]["parameters"] for name in ("fcn8", "unet", "mean")]
    assert costs[2] == costs[0] + costs[1]
    pairs = [(pair["model"], pair["minus"]) for pair in once.metrics["differences"]]
    assert pairs == [("unet", "fcn8"), ("mean", "fcn8"), ("mean", "unet")]
    less = once.metrics["unet_minus_fcn8"]["mean"]
    unet, fcn8 = (once.metrics["models"][name]["dice"]["mean"] for name in ("unet", "fcn8"))
    assert less == pytest.approx(unet - fcn8)


@pytest.mark.slow
def test_a_page_of_an_older_evaluation_and_one_of_a_network_that_is_not_known(once, tmp_path):
    run_copy = copy_run(once.run, tmp_path / "run")
    file = run_copy / "evaluation" / "test" / "metrics.json"
    older = json.loads(file.read_text())
    del older["differences"]
    file.write_text(json.dumps(older))
    run(PROJECT, "report", file.parent)
    assert "Case by case U-Net&#39;s Dice is" in (file.parent / "report.html").read_text()
    older["models"]["attention"] = older["models"]["unet"]
    file.write_text(json.dumps(older))
    assert "attention" in refused(PROJECT, "report", file.parent)


def test_written_masks_lie_on_their_images_and_have_the_scores_that_were_printed(once):
    for row in once.predictions:
        image, truth = (the_file(once.sample, row["case"], f) for f in ("imagesTr", "labelsTr"))
        mask = nibabel.load(once.evaluation / "masks" / f"{row['case']}-{row['model']}.nii.gz")
        assert mask.shape == image.shape and np.allclose(mask.affine, image.affine)
        for code in ("qform_code", "sform_code"):
            assert mask.header[code] == image.header[code]
        spacing = nibabel.affines.voxel_sizes(image.affine)
        scores = volume_scores(np.asarray(truth.dataobj), np.asarray(mask.dataobj), spacing)
        assert float(row["dice"]) == pytest.approx(scores["dice"])
        assert float(row["hd95_mm"]) == pytest.approx(scores["hd95_mm"])


def test_gifs_and_views_are_drawn_of_the_worst_and_the_best(once):
    gifs = sorted(path.name for path in (once.evaluation / "gifs").glob("*.gif"))
    views = sorted(path.stem for path in (once.evaluation / "views").glob("*.png"))
    assert len(views) == 2
    kinds = ("models", "truth")
    assert gifs == sorted(f"{view}-{kind}.gif" for view in views for kind in kinds)
    sheets = sorted(path.stem for path in (once.evaluation / "gifs").glob("*.png"))
    assert sheets == [name.removesuffix(".gif") for name in gifs]
    assert all(path.stat().st_size <= 3e6 for path in (once.evaluation / "gifs").glob("*.gif"))
    slices = sorted((once.evaluation / "slices").glob("*.png"))
    assert [path.stem for path in slices] == [
        f"{view}-{kind}" for view in views for kind in ("mask", "truth")
    ]
    for mask, truth in zip(slices[::2], slices[1::2], strict=True):
        with Image.open(mask) as predicted, Image.open(truth) as true:
            assert predicted.size == true.size
            assert predicted.tobytes() != true.tobytes()
    by_dice = sorted(once.metrics["cases"], key=lambda case: case["unet"]["dice"])
    assert views[0].startswith("01-") and views[0].endswith(by_dice[0]["case"])
    assert views[-1].endswith(by_dice[-1]["case"])


def test_training_says_what_it_took(once):
    fitted = json.loads((once.run / "fitted.json").read_text())
    for name in ("unet", "fcn8"):
        of = fitted["models"][name]
        assert of["peak_memory_mib"] is None or of["peak_memory_mib"] > 100
        assert of["seconds"] > 0
        assert f"{of['parameters']:,} parameters" in once.said["train"]
    assert "MiB at the peak" in once.said["train"]
    assert "mean shape" in once.said["evaluate"]


@pytest.fixture(scope="module")
def three_labels(once, tmp_path_factory):
    """The sample with the outer half of each atrium called 4, as a wall would."""
    folder = tmp_path_factory.mktemp("three") / "dataset"
    shutil.copytree(once.sample, folder)
    for path in (folder / "labelsTr").glob("*.nii.gz"):
        mask = nibabel.load(path)
        values = np.asarray(mask.dataobj).astype(np.uint8)
        depth = distance_transform_edt(values, nibabel.affines.voxel_sizes(mask.affine))
        values[(values > 0) & (depth <= np.median(depth[values > 0]))] = 4
        nibabel.save(nibabel.Nifti1Image(values, mask.affine, mask.header), path)
    about = json.loads((folder / "dataset.json").read_text())
    about["labels"] = {"0": "background", "1": "blood", "4": "wall"}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.mark.slow
def test_three_labels_are_learned_scored_and_written_with_their_own_values(three_labels, tmp_path):
    run(PROJECT, "prepare_data", "--preset", "cpu", "--source", three_labels, "--prepared",
        tmp_path / "prepared", "--validation-share", 0.2, "--test-share", 0.3,
        "--spacing-mm", 3, 3, 3)  # fmt: skip
    run(PROJECT, "train", "--preset", "cpu", "--prepared", tmp_path / "prepared", "--run",
        tmp_path / "run", "--models", "unet", "--epochs", 40, "--patience", 40, "--batch-size", 4,
        "--precision", "float32", "--image-size", 64, "--unet-width", 8, "--unet-depth", 3,
        "--learning-rate", 0.003, "--loss", "dice+crossentropy",
        "--deep-supervision", 1)  # fmt: skip
    said = run(PROJECT, "evaluate", "--run", tmp_path / "run", "--pictures", 1)
    evaluation = tmp_path / "run" / "evaluation" / "test"
    metrics = json.loads((evaluation / "metrics.json").read_text())
    assert metrics["labels"] == ["blood", "wall"]
    assert "Dice, blood" in said and "Dice, wall" in said
    unet = metrics["models"]["unet"]
    dices = [unet["per_label"][label]["dice"]["mean"] for label in metrics["labels"]]
    assert unet["dice"]["mean"] == pytest.approx(np.mean(dices))
    # A coin for each voxel of the atrium has 0.5; the wall's is 0.58 by one processor's rounding.
    assert min(dices) > 0.5 and max(dices) > 0.7
    groups = {score["group"]: score["value"] for score in metrics["main_scores_of_groups"]}
    assert groups == dict(zip(("label blood", "label wall"), dices, strict=True))
    for path in (evaluation / "masks").glob("*-unet.nii.gz"):
        assert set(np.unique(nibabel.load(path).dataobj)) == {0, 1, 4}
    with Image.open(next((evaluation / "views").glob("*.png"))) as picture:
        assert picture.width > picture.height

    # A run of one label can't score it.
    line = refused(PROJECT, "evaluate", "--run", tmp_path / "run", "--source",
                   once_more(three_labels, tmp_path))  # fmt: skip
    assert "has the labels 1 left atrium, and the run was trained on 1 blood, 4 wall" in line


def once_more(dataset, tmp_path):
    """The same volumes with a dataset.json of one label."""
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    about = json.loads((other / "dataset.json").read_text())
    about["labels"] = {"0": "background", "1": "left atrium"}
    (other / "dataset.json").write_text(json.dumps(about))
    for path in (other / "labelsTr").glob("*.nii.gz"):
        mask = nibabel.load(path)
        values = (np.asarray(mask.dataobj) > 0).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, mask.affine, mask.header), path)
    return other


@pytest.mark.slow
def test_folds_are_averaged(samples, tmp_path):
    prepared = tmp_path / "prepared"
    run(PROJECT, "prepare_data", "--preset", "cpu", "--source", samples[PROJECT], "--prepared",
        prepared, "--folds", 2, "--test-share", 0.3, *TINY_DATA[PROJECT])  # fmt: skip
    for fold in (0, 1):
        run(PROJECT, "train", "--preset", "cpu", "--prepared", prepared, "--run",
            tmp_path / f"fold-{fold}", "--fold", fold, "--epochs", 1, "--models", "unet",
            "--planes", "axial", "sagittal", "--bias-field", 0.1, "--elastic", 0.01,
            "--precision", "float32", *TINY[PROJECT])  # fmt: skip
    first, second = tmp_path / "fold-0", tmp_path / "fold-1"
    # Averaged with itself a network says what it says alone.
    for name, further in (("alone", ()), ("twice", [first]), ("both", [second])):
        ensemble = ["--ensemble", *further] if further else []
        run(PROJECT, "evaluate", "--run", first, "--name", name, "--pictures", 0,
            "--no-largest-component", *ensemble)  # fmt: skip
    alone, twice, both = (
        json.loads((first / "evaluation" / name / "metrics.json").read_text())
        for name in ("alone", "twice", "both")
    )
    assert [of["ensemble"] for of in (alone, twice, both)] == [1, 2, 2]
    assert alone["models"]["unet"]["dice"] == twice["models"]["unet"]["dice"]
    assert alone["models"]["unet"]["dice"] != both["models"]["unet"]["dice"]
    refused_line = refused(PROJECT, "evaluate", "--run", first, "--split", "validation",
                           "--ensemble", second)  # fmt: skip
    assert "was trained or validated on the validation split of" in refused_line


@pytest.mark.slow
def test_an_ensemble_is_of_one_prepared_set(once, samples, tmp_path):
    prepared, other = tmp_path / "prepared", tmp_path / "run"
    run(PROJECT, "prepare_data", "--preset", "cpu", "--source", samples[PROJECT], "--prepared",
        prepared, "--seed", 5, *TINY_DATA[PROJECT])  # fmt: skip
    run(PROJECT, "train", "--preset", "cpu", "--prepared", prepared, "--run", other, "--epochs",
        1, "--models", "unet", "--precision", "float32", *TINY[PROJECT])  # fmt: skip
    line = refused(PROJECT, "evaluate", "--run", once.run, "--ensemble", other)
    assert "was trained on other data than" in line


# ---- Planes


def test_slices_of_every_plane_are_those_of_the_volume():
    from atrium_segmentation.slices import slices_of

    image = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    volume = {"image": image, "mask": image + 100}
    for plane, take in {
        "axial": lambda of, number: of[number],
        "coronal": lambda of, number: of[:, number],
        "sagittal": lambda of, number: of[:, :, number],
    }.items():
        found = slices_of(volume, 1, plane)
        count = len(found["image"])
        assert count == {"axial": 2, "coronal": 3, "sagittal": 4}[plane]
        for number in range(count):
            for channel, offset in enumerate((-1, 0, 1)):
                beside = min(max(number + offset, 0), count - 1)
                assert np.array_equal(found["image"][number, ..., channel], take(image, beside))
            assert np.array_equal(found["mask"][number, ..., 0], take(image, number) + 100)


def teller():
    """A network that says what it sees in the middle one of its three slices."""
    import keras

    seen = keras.Input((None, None, 3))
    tell = keras.layers.Conv2D(1, 1, use_bias=False)
    model = keras.Model(seen, tell(seen))
    tell.set_weights([np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3, 1)])
    return model


@pytest.mark.parametrize("flip", [False, True])
def test_what_is_said_in_a_plane_comes_back_to_its_voxels(flip):
    from atrium_segmentation.config import PLANES, EvaluateSettings
    from atrium_segmentation.inference import mask_of, predict_volume

    model = teller()
    working = np.random.default_rng(0).integers(0, 2, (5, 37, 40), np.uint8)
    volume = {"working": working, "image": np.zeros((40, 37, 5), np.uint8)}
    volume["affine"] = volume["working_affine"] = np.eye(4)
    for planes in (*([plane] for plane in PLANES), list(PLANES)):
        settings = EvaluateSettings(
            flip=flip, test_time_augmentation=False, largest_component=False
        )
        members = [(model, {"neighbours": 1, "planes": planes})]
        assert np.array_equal(
            mask_of(predict_volume(members, volume, settings), volume, settings), working.T
        )


def test_what_is_said_of_moved_slices_comes_back_to_its_voxels():
    from scipy.ndimage import gaussian_filter

    from atrium_segmentation.config import PLANES, EvaluateSettings
    from atrium_segmentation.inference import mask_of, predict_volume

    model = teller()
    rough = np.random.default_rng(0).normal(size=(40, 48, 56))
    smooth = gaussian_filter(rough, 5, mode="constant")
    # Far from 0.5 wherever the blur of the interpolation does not reach.
    working = np.where(smooth > 0, 1, 0).astype(np.uint8)
    certain = np.abs(gaussian_filter(working.astype(float), 2) - 0.5) > 0.25
    volume = {"working": working, "image": np.zeros(working.shape[::-1], np.uint8)}
    volume["affine"] = volume["working_affine"] = np.eye(4)
    for plane in PLANES:
        settings = EvaluateSettings(test_time_augmentation=True, largest_component=False)
        members = [(model, {"neighbours": 1, "planes": [plane]})]
        found = mask_of(predict_volume(members, volume, settings), volume, settings)
        assert np.array_equal(found.T[certain], working[certain])
        assert certain.mean() > 0.5


@pytest.mark.parametrize("fits", [True, False])
def test_every_slice_of_every_plane_trains_once_an_epoch(whole, monkeypatch, fits):
    from atrium_segmentation import dataset
    from atrium_segmentation.config import TrainSettings
    from atrium_segmentation.slices import samples
    from common.records.prepared import open_prepared
    from common.training.pipeline import Training

    if not fits:
        monkeypatch.setattr(dataset, "free_memory", lambda: 0)
        monkeypatch.setattr(dataset, "MIXED_VOLUMES", 2)
    volumes = dataset.Volumes(open_prepared(whole(PROJECT).prepared, PROJECT), ["train"])
    settings = TrainSettings(planes=("axial", "sagittal"), neighbours=1)
    slices = samples(volumes, 128, settings, random_places=True)
    assert slices.in_blocks is not fits
    training = Training(slices, 1, 0, 1, lambda batch, seed: batch)
    assert training.steps == sum(shape[0] + shape[2] for shape in volumes.shapes)
    labelled, cases = {}, []
    for batch in training.batches().as_numpy_iterator():
        cases.append(batch["case"][0].decode())
        labelled[cases[-1]] = labelled.get(cases[-1], 0) + int(batch["mask"].sum())
    assert labelled == {volume["case"]: 2 * int(volume["mask"].sum()) for volume in volumes}
    # The slices of a volume are mixed with those of others.
    assert np.mean([a == b for a, b in itertools.pairwise(cases)]) < 0.8


def test_a_large_slice_is_cropped_anywhere_to_train_and_in_its_middle_to_validate(whole):
    from atrium_segmentation.config import TrainSettings
    from atrium_segmentation.dataset import Volumes
    from atrium_segmentation.slices import samples, slices_of
    from common.records.prepared import open_prepared

    volumes = Volumes(open_prepared(whole(PROJECT).prepared, PROJECT), ["train"])
    expected = slices_of(volumes[0], 1)["image"]
    rows, columns = expected.shape[1:3]
    assert min(rows, columns) > 32
    top, left = (rows - 32) // 2, (columns - 32) // 2
    for random_places in (False, True):
        slices = samples(volumes, 32, TrainSettings(neighbours=1), random_places)
        numbers = np.arange(len(expected))
        images = slices.read(numbers, np.array([0, 1]))["image"].numpy()
        middle = expected[:, top : top + 32, left : left + 32]
        assert np.array_equal(images, middle) is not random_places


def test_slices_without_the_structure_can_train_less_often(whole):
    from atrium_segmentation.config import TrainSettings
    from atrium_segmentation.dataset import Volumes
    from atrium_segmentation.slices import samples
    from common.records.prepared import open_prepared

    volumes = Volumes(open_prepared(whole(PROJECT).prepared, PROJECT), ["train"])
    full = sum(int(volume["mask"].any((1, 2)).sum()) for volume in volumes)
    slices = samples(volumes, 64, TrainSettings(empty_share=0.25), random_places=True)
    assert full < slices.count
    assert slices.drawn == np.ceil(full + 0.25 * (slices.count - full))
