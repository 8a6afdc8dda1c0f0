"""A decathlon folder to a table of cases."""

import json

import numpy as np
import pytest

from common.base.errors import UserError
from common.datasets.decathlon import index_volumes
from common.datasets.repairs import noted_repairs
from common.datasets.wrong_folder import VOLUMES, refuse_wrong_folder
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import real_data, write_nifti
from tests.helpers.geometry import LAS, counted

LABELS = {"0": "background", "1": "left atrium"}


def make(source, names=("la_002", "la_001"), masks=None, suffix=".nii.gz"):
    for folder, cases in (("imagesTr", names), ("labelsTr", names if masks is None else masks)):
        (source / folder).mkdir(parents=True, exist_ok=True)
        for name in cases:
            write_nifti(source / folder / f"{name}{suffix}", np.zeros((2, 2, 2), np.uint8))
    return source


def describe(source, names=None, labels=None, **more):
    content = {"labels": labels or LABELS, **more}
    if names is not None:
        content["training"] = [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in names
        ]
    (source / "dataset.json").write_text(json.dumps(content))
    return source


def reasons(table):
    return dict(zip(table["case"], table["left_out"], strict=True))


def test_a_good_folder(tmp_path):
    table, labels = index_volumes(describe(make(tmp_path), ["la_002", "la_001"]))
    assert list(table.columns) == [
        "case", "path", "mask_path", "patient", "left_out", "patient_hash",
    ]  # fmt: skip
    assert table.iloc[0].tolist() == [
        "la_001", "imagesTr/la_001.nii.gz", "labelsTr/la_001.nii.gz", "la_001", "", "",
    ]  # fmt: skip
    assert list(table["case"]) == ["la_001", "la_002"]
    assert labels == {0: "background", 1: "left atrium"}
    assert "one volume per patient is assumed" in table.attrs["patients_remark"]


def test_a_file_may_say_whose_a_volume_is(tmp_path):
    make(tmp_path)
    (tmp_path / "patients.csv").write_text("case,patient\nla_001.nii.gz,Ann\nla_002,Ann\n")
    table, _ = index_volumes(tmp_path, tmp_path / "patients.csv")
    rows = table.set_index("case").loc[["la_001", "la_002"]]
    assert rows["patient"].nunique() == 1 and rows["patient_hash"].nunique() == 1
    assert "Ann" not in set(table["patient"])


def test_a_series_says_itself_whose_it_is(tmp_path):
    make(tmp_path, ["e"], list("abcde"))
    for case, patient in (("a", "Zed"), ("b", "Ann"), ("c", "Zed"), ("d", "anonymous")):
        write_series(tmp_path / "imagesTr" / case, counted(2, 3, 4), LAS, PatientID=patient)
    table, _ = index_volumes(tmp_path)
    patient = dict(zip(table["case"], table["patient"], strict=True))
    assert patient["a"] == patient["c"] and len(set(patient.values())) == 4
    assert table.attrs["patients_from"] == "PatientID"
    assert table.attrs["patients_remark"].startswith("2 of 5 files have no PatientID")
    assert [bool(key) for key in table["patient_hash"]] == [True, True, True, False, False]
    assert "Zed" not in table.to_csv()
    (tmp_path / "who.csv").write_text("case,patient\na,x\nb,x\n")
    table, _ = index_volumes(tmp_path, tmp_path / "who.csv")
    assert table["patient"][0] == table["patient"][1] != table["patient"][2]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ", ".Nii"])
def test_without_a_list_all_files_count(tmp_path, suffix):
    table, labels = index_volumes(make(tmp_path, suffix=suffix))
    assert len(table) == 2 and not table["left_out"].any()
    assert labels == {0: "background", 1: "foreground"}
    describe(tmp_path, labels={"background": 0, "LA": 1}, numTraining=2, file_ending=suffix)
    table, labels = index_volumes(tmp_path)
    assert len(table) == 2 and labels == {0: "background", 1: "LA"}


def test_what_cant_be_used_is_left_out_with_the_reason(tmp_path):
    make(tmp_path, ["a", "b", "extra"], masks=["a", "c", "extra"])
    describe(tmp_path, ["a", "b", "c", "d"])
    table, _ = index_volumes(tmp_path)
    assert reasons(table) == {
        "a": "", "b": "no mask", "c": "no image", "d": "no image", "extra": "not in dataset.json",
    }  # fmt: skip


@pytest.mark.parametrize("listed", [False, True])
def test_a_volume_may_be_a_pair_nrrd_metaimage_or_a_folder_of_slices(tmp_path, listed):
    make(tmp_path, [], ["a", "b", "c", "d", "e"])
    images = tmp_path / "imagesTr"
    for name in ("a.hdr", "a.img", "b.nrrd", "c.mhd", "c.raw", "d.MHA"):
        (images / name).touch()
    write_series(images / "e" / "DICOM", counted(2, 3, 4), LAS)
    (images / "notes").mkdir()  # without slices it is no volume
    if listed:
        pairs = {"a": "a.hdr", "b": "b.nrrd", "c": "c.mhd", "d": "d.MHA", "e": "e"}
        training = [
            {"image": f"imagesTr/{image}", "label": f"labelsTr/{case}.nii.gz"}
            for case, image in pairs.items()
        ]
        describe(tmp_path, training=training)
    table, _ = index_volumes(tmp_path)
    assert list(table["case"]) == ["a", "b", "c", "d", "e"] and not table["left_out"].any()
    assert [path.removeprefix("imagesTr/") for path in table["path"]] == [
        "a.hdr", "b.nrrd", "c.mhd", "d.MHA", "e",
    ]  # fmt: skip


def test_files_that_a_mac_hid_are_no_volumes(tmp_path):
    make(tmp_path)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder / "._la_001.nii.gz").write_bytes(b"Mac OS X")
    for source in (tmp_path, describe(tmp_path, ["la_001", "la_002"])):
        assert list(index_volumes(source)[0]["case"]) == ["la_001", "la_002"]


def test_nnunets_channel_suffix(tmp_path):
    make(tmp_path, ["a_0000", "b_0000", "b_0001"], masks=["a", "b"])
    for source in (tmp_path, describe(tmp_path, ["a", "b"])):
        table, _ = index_volumes(source)
        assert reasons(table) == {"a": "", "b": "several channels"}
        assert table["path"][0] == "imagesTr/a_0000.nii.gz"


def test_four_digits_may_be_the_patients_number(tmp_path):
    make(tmp_path, ["p_0001", "p_0002"])
    for source in (tmp_path, describe(tmp_path, ["p_0001", "p_0002"])):
        assert reasons(index_volumes(source)[0]) == {"p_0001": "", "p_0002": ""}


def test_a_listed_channel_goes_by_its_masks_name(tmp_path):
    make(tmp_path, ["a_0000"], masks=["a"])
    entry = {"image": "imagesTr/a_0000.nii.gz", "label": "labelsTr/a.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": LABELS, "training": [entry]}))
    assert reasons(index_volumes(tmp_path)[0]) == {"a": ""}


def test_a_mask_of_another_name(tmp_path):
    make(tmp_path, ["img"], masks=["seg"])
    entry = {"image": "imagesTr/img.nii.gz", "label": "labelsTr/seg.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": LABELS, "training": [entry]}))
    table, _ = index_volumes(tmp_path)
    assert table["mask_path"].tolist() == ["labelsTr/seg.nii.gz"] and not table["left_out"].any()


def test_one_case_in_two_files(tmp_path):
    make(make(tmp_path, ["a"]), ["a"], suffix=".nii")
    assert reasons(index_volumes(tmp_path)[0]) == {"a": "several files"}


@pytest.mark.parametrize("image", ["../x.nii.gz", "/etc/x.nii.gz", "imagesTr/../../x.nii.gz", ""])
def test_a_path_that_leaves_the_folder_is_left_out(tmp_path, image):
    describe(make(tmp_path))
    entry = {"image": image, "label": "labelsTr/la_001.nii.gz"}
    content = {"labels": LABELS, "training": [entry]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    table, _ = index_volumes(tmp_path)
    outside = table[table["left_out"] == "outside the dataset"]
    assert len(outside) == 1 and set(outside["path"]) == {""}


def test_an_unusable_name_is_left_out(tmp_path):
    make(tmp_path, ["a", "line\nbreak"])
    table, _ = index_volumes(tmp_path)
    assert reasons(table) == {"a": "", "unusable name 2": "unusable id"}


@pytest.mark.parametrize(
    "content",
    ['{"labels": {}}', "[]", '{"training": []}', '{"labels": {"0": "b"}, "training": [1]}',
     '{"labels": {"0": "b"}, "training": {"image": 1}}', '{"labels": {"300": "b"}}', "3", "null",
     '{"labels": ["a", "b"]}', '{"labels": {"x": [0, 1]}}', '{"labels": {"0": "b"'],
)  # fmt: skip
def test_a_broken_dataset_json(tmp_path, content):
    make(tmp_path)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json: "):
        index_volumes(tmp_path)


def test_a_case_with_two_masks_and_one_with_anothers_mask_are_left_out(tmp_path):
    make(tmp_path, "abcd")
    pairs = [("a", "a"), ("a", "b"), ("a", "a"), ("b", "c"), ("c", "c"), ("./c", "c"), ("d", "d")]
    training = [{"image": f"imagesTr/{i}.nii.gz", "label": f"labelsTr/{m}"} for i, m in pairs]
    table, _ = index_volumes(describe(tmp_path, training=training))
    assert reasons(table) == {
        "a": "several files: dataset.json lists it with several",
        "b": "another case's mask: that of c", "c": "", "d": "",
    }  # fmt: skip


def rename(folder, change):
    for path in sorted(folder.iterdir()):
        path.rename(folder / change(path.name))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("word", ["_seg", "-label", "_GT", "_groundtruth", ".mask"])
def test_a_masks_name_may_say_what_it_is(tmp_path, word, listed):
    make(tmp_path)
    rename(tmp_path / "labelsTr", lambda name: name.replace(".nii", f"{word}.nii"))
    if listed:
        describe(tmp_path, ["la_001", "la_002"])
    with noted_repairs() as repairs:
        table, _ = index_volumes(tmp_path)
    assert reasons(table) == {"la_001": "", "la_002": ""}
    assert table["mask_path"][0] == f"labelsTr/la_001{word}.nii.gz"
    assert [(r.where, r.detail) for r in repairs] == [
        ("labelsTr", "masks named in other letters, or with a word more: 2")
    ]
    # With the plain mask there too, nobody knows which is meant.
    make(tmp_path, ["la_001"])
    assert reasons(index_volumes(tmp_path)[0])["la_001"] == "several files"


def test_names_and_folders_may_differ_in_upper_and_lower_case(tmp_path):
    describe(make(tmp_path), ["LA_001", "La_002"])
    with noted_repairs() as repairs:
        assert reasons(index_volumes(tmp_path)[0]) == {"la_001": "", "la_002": ""}
    assert [(r.where, r.detail) for r in repairs] == [
        ("dataset.json", "images named in other letters: 2")
    ]
    (tmp_path / "dataset.json").unlink()
    rename(tmp_path / "labelsTr", str.upper)
    rename(tmp_path, lambda name: {"imagesTr": "ImagesTr", "labelsTr": "LABELSTR"}[name])
    refuse_wrong_folder(tmp_path, VOLUMES)
    table, _ = index_volumes(tmp_path)
    assert reasons(table) == {"la_001": "", "la_002": ""}
    assert table["path"][0] == "ImagesTr/la_001.nii.gz"
    # Letters that tell two cases apart are no slip.
    make(tmp_path / "two", ["a", "A"], ["a"])
    assert reasons(index_volumes(tmp_path / "two")[0]) == {"A": "no mask", "a": ""}


def test_names_of_a_mac_and_of_dataset_json_are_the_same(tmp_path):
    make(tmp_path, ["ile\u0301"], ["il\u00e9"])  # é in two characters, and in one
    for source in (tmp_path, describe(tmp_path, ["il\u00e9"])):
        assert reasons(index_volumes(source)[0]) == {"il\u00e9": ""}


def test_links_are_followed_and_a_path_from_elsewhere_ends_here(tmp_path):
    make(tmp_path / "far")
    (tmp_path / "here").mkdir()
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "here" / name).symlink_to(f"../far/{name}")
    training = [
        {"image": f"../../Task02/imagesTr/{name}.nii.gz", "label": f"/data/labelsTr/{name}.nii.gz"}
        for name in ("la_001", "la_002")
    ]
    table, _ = index_volumes(describe(tmp_path / "here", training=training))
    assert reasons(table) == {"la_001": "", "la_002": ""}
    assert table["path"][0] == "imagesTr/la_001.nii.gz"


def test_equal_masks_are_several_where_a_store_holds_them_once(tmp_path):
    make(tmp_path, ["a", "b"], ["store"])
    (tmp_path / "labelsTr" / "store.nii.gz").rename(tmp_path / "store")
    for name in "ab":
        (tmp_path / "labelsTr" / f"{name}.nii.gz").symlink_to("../store")
    assert reasons(index_volumes(tmp_path)[0]) == {"a": "", "b": ""}


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (
            lambda source: describe(make(source), []),
            r"dataset\.json: its list of training volumes is empty; list them, or take the list "
            "away to use every volume$",
        ),
        (lambda source: describe(make(source), training={"a": 1}), '"training" as a list of'),
        (
            lambda source: make(source, ["a"], ["b"]),
            r"no image has a mask of its name; imagesTr/ has a, labelsTr/ has b; name both alike, "
            r"or list each with its mask in dataset\.json$",
        ),
        (
            lambda source: make(source / "imagesTr" / "a", ["x"]) and make(source, []),
            r"imagesTr: no volumes are there; expected .* for each; found a$",
        ),
    ],
)
def test_what_is_listed_or_named_wrongly_is_said(tmp_path, make_it, message):
    make_it(tmp_path)
    with pytest.raises(UserError, match=message):
        index_volumes(tmp_path)


def test_what_the_user_can_mend(tmp_path):
    with pytest.raises(UserError, match="none: there is no such folder"):
        index_volumes(tmp_path / "none")
    with pytest.raises(UserError, match=r"imagesTr: there is no such folder; .* found nothing"):
        index_volumes(tmp_path)
    make(tmp_path, [])
    with pytest.raises(UserError, match="imagesTr: no volumes are there"):
        index_volumes(tmp_path)


def test_the_real_folder():
    table, labels = index_volumes(real_data("Task02_Heart"))
    assert len(table) == 80 and not table["left_out"].any()
    assert labels == {0: "background", 1: "left atrium"}
