"""A decathlon folder to a table of cases."""

import json

import numpy as np
import pytest

from common.base.errors import UserError
from common.datasets.decathlon import index_volumes
from tests.helpers.fixtures import real_data, write_nifti

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


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
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


def test_what_the_user_can_mend(tmp_path):
    with pytest.raises(UserError, match="none: there is no such folder"):
        index_volumes(tmp_path / "none")
    with pytest.raises(UserError, match=r"imagesTr: there is no such folder; .* found nothing"):
        index_volumes(tmp_path)
    make(tmp_path, [])
    with pytest.raises(UserError, match=r"imagesTr: no \.nii or \.nii\.gz files are there"):
        index_volumes(tmp_path)


def test_the_real_folder():
    table, labels = index_volumes(real_data("Task02_Heart"))
    assert len(table) == 80 and not table["left_out"].any()
    assert labels == {0: "background", 1: "left atrium"}
