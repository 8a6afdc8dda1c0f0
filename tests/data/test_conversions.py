"""Converters, each on a tiny folder in the public layout, through to the table of cases."""

from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image

from common.base.errors import UserError
from common.datasets.decathlon import index_volumes
from common.datasets.layouts import index_films
from common.datasets.rsna import index_heart
from common.imaging.films import read_film
from data.convert import main

CORNERS = ["x0", "y0", "x1", "y1"]
HEART = (slice(20, 44), slice(10, 30))


def written(picture: np.ndarray, file) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)


def mask(side: int = 64) -> np.ndarray:
    picture = np.zeros((side, side), np.uint8)
    picture[HEART] = 255
    return picture


@pytest.fixture
def film() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)


def convert(kind: str, tmp_path, *more: str):
    main([kind, str(tmp_path / "in"), str(tmp_path / "out"), *more])
    return tmp_path / "out"


NAMES = {
    "train/NORMAL": ("NORMAL-1003233-0001", "IM-0115-0001"),
    "train/PNEUMONIA": ("BACTERIA-1008087-0001", "person1_bacteria_1", "person1_bacteria_2"),
    "test/PNEUMONIA": ("VIRUS-1008087-0002",),
}


def test_kermanys_folders_become_a_table_of_children(tmp_path, film):
    for folder, names in NAMES.items():
        for name in names:
            written(film, tmp_path / "in" / folder / f"{name}.jpeg")
    cases = index_films(convert("kermany", tmp_path)).set_index("case")
    assert cases["label"].to_dict() == {
        name: int("PNEUMONIA" in folder) for folder, names in NAMES.items() for name in names
    }
    assert cases["patient"].nunique() == 4, "two films of person1, two of child 1008087"
    assert "official_split" not in cases
    film_of = "stage_2_train_images/IM-0115-0001.jpeg"
    original = tmp_path / "in/train/NORMAL/IM-0115-0001.jpeg"
    assert (tmp_path / "out" / film_of).read_bytes() == original.read_bytes()


@pytest.mark.parametrize("above", ["", "scratch/"])
def test_jsrt_with_scrs_masks_becomes_heart_boxes(tmp_path, film, above):
    # 12 bits, big-endian, without a header; bone is dark.
    values = (4095 - film.astype(int) * 16).astype(">u2")
    for name in ("JPCLN001", "JPCNN002", "JPCNN003"):
        file = tmp_path / "in" / "All247images" / f"{name}.IMG"
        file.parent.mkdir(parents=True, exist_ok=True)
        values.tofile(file)
    for fold, name in (("fold1", "JPCLN001"), ("fold2", "JPCNN002")):
        written(mask(), tmp_path / "in" / above / fold / "masks" / "heart" / f"{name}.gif")
        written(255 - mask(), tmp_path / "in" / above / fold / "masks/left lung" / f"{name}.gif")
    folder = convert("jsrt", tmp_path)
    cases = index_heart(folder).set_index("case")
    assert sorted(cases.index) == ["jsrt-JPCLN001", "jsrt-JPCNN002"]
    assert list(cases.loc["jsrt-JPCNN002", CORNERS]) == [10, 20, 30, 44]
    picture = read_film(folder / cases.loc["jsrt-JPCLN001", "path"]).pixels.astype(float)
    assert np.corrcoef(picture.ravel(), film.ravel())[0, 1] > 0.999, "bone is bright"


def test_the_cardiothoracic_ratio_dataset_becomes_heart_boxes(tmp_path, film):
    uid = "1.2.156.112536.2.560.224076136121215.1245885081467.12600"
    for part, name in (("jsrt", "JPCLN001"), ("wingspan", uid)):
        written(film, tmp_path / "in" / part / "png" / f"{name}.png")
        written(mask(), tmp_path / "in" / part / "mask" / "heart" / f"{name}.png")
        written(255 - mask(), tmp_path / "in" / part / "mask" / "left_lung" / f"{name}.png")
    cases = index_heart(convert("ctr", tmp_path)).set_index("case")
    assert sorted(cases.index) == ["jsrt-JPCLN001", "wingspan-1245885081467-12600"]
    assert (cases[CORNERS] == [10, 20, 30, 44]).all(axis=None)


def uamt(tmp_path, numbers: np.ndarray) -> None:
    """UA-MT's folder: values are standardised over the whole scan, then cropped."""
    for name in ("B7", "A3", "T1"):
        file = tmp_path / "in" / "2018LA_Seg_Training Set" / name / "mri_norm2.h5"
        file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file, "w") as volume:
            volume["image"] = ((numbers - 40.3) / 12.7).astype(np.float32)
            volume["label"] = (numbers > 200).astype(np.uint8) * (1 if name == "A3" else 255)
    (tmp_path / "in" / "train.list").write_text("B7\nA3\n")
    (tmp_path / "in" / "test.list").write_text("T1\n")


@pytest.mark.parametrize("part", ["train", "test"])
def test_uamts_volumes_become_the_decathlons_layout(tmp_path, part):
    numbers = np.random.default_rng(2).integers(5, 250, (6, 5, 4))
    numbers[0, 0, :2] = 5, 6
    uamt(tmp_path, numbers)
    folder = convert("uamt", tmp_path, "--part", part)
    cases, labels = index_volumes(folder)
    assert list(cases["case"]) == (["la_001", "la_002"] if part == "train" else ["la_001"])
    assert not cases["left_out"].any() and labels == {0: "background", 1: "left atrium"}
    volume = nibabel.load(folder / "imagesTr" / "la_001.nii.gz")
    assert volume.header.get_zooms() == (0.625, 0.625, 0.625)
    assert volume.get_data_dtype() == np.uint8
    assert (np.asarray(volume.dataobj) == numbers - numbers.min()).all()
    label = np.asarray(nibabel.load(folder / "labelsTr" / "la_001.nii.gz").dataobj)
    assert (label == (numbers > 200)).all()


@pytest.mark.parametrize("value", [1, 255])
def test_the_2018_challenges_folders_become_the_decathlons_layout(tmp_path, value):
    rng, place = np.random.default_rng(5), tmp_path / "in" / "Training Set"
    for name in ("B7", "A3"):
        (place / name).mkdir(parents=True)
        for file, high in (("lgemri", 200), ("laendo", 2)):
            voxels = rng.integers(0, high, (6, 5, 4)).astype(np.uint8)
            voxels = voxels * value if file == "laendo" else voxels
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), place / name / f"{file}.nii.gz")
    folder = convert("la2018", tmp_path)
    cases, labels = index_volumes(folder)
    assert list(cases["case"]) == ["A3", "B7"] and not cases["left_out"].any()
    assert labels == {0: "background", value: "left atrium"}
    for name in cases["case"]:
        for part, file in (("imagesTr", "lgemri"), ("labelsTr", "laendo")):
            copied = (folder / part / f"{name}.nii.gz").read_bytes()
            assert copied == (place / name / f"{file}.nii.gz").read_bytes()


def test_values_that_were_no_whole_numbers_stay_as_they_are(tmp_path):
    numbers = np.random.default_rng(3).normal(100, 50, (6, 5, 4))
    uamt(tmp_path, numbers)
    folder = convert("uamt", tmp_path)
    volume = np.asarray(nibabel.load(folder / "imagesTr" / "la_001.nii.gz").dataobj)
    assert np.allclose(volume, (numbers - 40.3) / 12.7, atol=1e-5)


def test_what_is_no_such_folder_is_refused_and_nothing_is_written(tmp_path, film):
    written(film, tmp_path / "in" / "train" / "CATS" / "a.jpeg")
    written(film, tmp_path / "in" / "train" / "DOGS" / "b.jpeg")
    for kind, message in (
        ("kermany", "PNEUMONIA"),
        ("jsrt", r"holds 0 \*.IMG films and 0 masks/heart/\*.gif masks"),
        ("ctr", "and no pair of one name; found train"),
        ("uamt", "holds no train.list"),
        ("la2018", "holds 0 lgemri volumes and 0 laendo masks"),
    ):
        with pytest.raises(UserError, match=message):
            convert(kind, tmp_path)
    (tmp_path / "in" / "train.list").write_text("A3\n")
    with pytest.raises(UserError, match=r"1 of the 1 volumes of train.list are not there"):
        convert("uamt", tmp_path)
    (tmp_path / "in" / "x.IMG").write_bytes(b"123")
    written(mask(), tmp_path / "in" / "masks" / "heart" / "x.gif")
    with pytest.raises(UserError, match="is no film of JSRT"):
        convert("jsrt", tmp_path)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    (tmp_path / "in" / "x.IMG").write_bytes(bytes(2 * 64 * 64))
    with pytest.raises(UserError, match="is there already, and stays as it is"):
        convert("jsrt", tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        main(["uamt", str(tmp_path / "none"), str(tmp_path / "new")])


def test_a_list_chooses_films_of_the_challenge_and_their_rows(tmp_path, film, capsys):
    source = tmp_path / "in"
    for name in "abc":
        written(film, source / "stage_2_train_images" / f"{name}.png")
    (source / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\na,1,2,3,4,1\na,5,6,7,8,1\nb,,,,,0\nc,,,,,0\n"
    )
    (source / "nih_patients.csv").write_text("patientId,nih_patient\na,1\nb,1\nc,2\n")
    listing = tmp_path / "list.csv"
    listing.write_text("case,split,sha256\na,train,1\nb,test,2\nz,test,3\n")
    cases = index_films(convert("rsna", tmp_path, "--list", str(listing))).set_index("case")
    assert "1 of the 3 films of the list are not there" in capsys.readouterr().out
    assert cases["label"].to_dict() == {"a": 1, "b": 0}
    assert len(cases.loc["a", "boxes"]) == 2 and cases["patient"].nunique() == 1
    listing.write_text("case,split\nz,test\n")
    with pytest.raises(UserError, match="holds none of the films that are wanted; it holds 3"):
        main(["rsna", str(source), str(tmp_path / "new"), "--list", str(listing)])
