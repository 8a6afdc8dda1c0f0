"""Who is on an image: files that say so, PatientIDs that do not."""

import json

import pytest

from common.base.errors import UserError
from common.datasets.patients import find_patients, numbered, read_patients

IMAGES = [f"film-{number:02d}" for number in range(14)]


def same(name):
    return name.removesuffix(".dcm")


def find(tmp_path, patient_ids, file=None):
    return find_patients(tmp_path, file, patient_ids, same)


def mapping(path, patients):
    entries = [
        {"subset_img_id": image, "img_id": f"{patient}_{number:03d}.png", "orig_labels": ["None"]}
        for number, (image, patient) in enumerate(patients.items())
    ]
    path.write_text(json.dumps(entries))
    return path


@pytest.mark.parametrize(
    ("patient_ids", "known_from", "remark"),
    [
        ([f"p{n % 5}" for n in range(14)], "PatientID", ""),
        (IMAGES, "PatientID", "each of 14 files has a PatientID of its own"),
        (["STUDY 7"] * 14, "", "PatientID is the same in 14 of 14 files"),
        (["ANONYMOUS"] * 9 + list("aabbc"), "PatientID", "9 of 14 files have no PatientID"),
        # A film that is there twice does not make the other names those of people.
        ([*IMAGES[:13], IMAGES[0]], "PatientID", "in 13 of 14 files the PatientID is the file's"),
        ([""] * 14, "", "no file of 14 has a PatientID"),
        (["UNKNOWN", "None"] * 7, "", "no file of 14 has a PatientID"),
        (
            ["a", "b", *["a"] * 9, "", "0", "unknown"],
            "PatientID",
            "3 of 14 files have no PatientID",
        ),
    ],
)
def test_what_headers_say(tmp_path, patient_ids, known_from, remark):
    by_image = dict(zip(IMAGES, patient_ids, strict=True))
    patients = find(tmp_path, by_image)
    assert patients.known_from == known_from
    assert patients.remark.startswith(remark) and bool(patients.remark) == bool(remark)
    nobody = [name for name in IMAGES if not patients.hashes[name]]
    own = [patients.keys[name] for name in nobody]
    assert len(set(own)) == len(own), "whom nobody knows is a patient of their own"
    assert not set(own) & {patients.keys[name] for name in set(IMAGES) - set(nobody)}


def test_a_few_images_of_as_many_patients_are_nothing_to_speak_of(tmp_path):
    assert find(tmp_path, {name: name for name in IMAGES[:10]}).remark == ""


def test_a_file_beside_the_labels_is_used_by_itself(tmp_path):
    of_children = {name: f"{number // 2:08d}" for number, name in enumerate(IMAGES)}
    mapping(tmp_path / "pneumonia-challenge-dataset-mappings_2018.json", of_children)
    patients = find(tmp_path, {name: name for name in IMAGES})
    assert patients.remark == "" and patients.known_from.endswith("2018.json")
    assert len(set(patients.keys.values())) == 7
    # The CSV, which is made for this very folder, comes first.
    rows = "\n".join(f"{name}.dcm,everybody" for name in IMAGES)
    (tmp_path / "nih_patients.csv").write_text(f"patientId,nih_patient\n{rows}\n")
    assert set(find(tmp_path, dict.fromkeys(IMAGES, "")).keys.values()) == {"everybody"}


def test_the_two_forms_of_one_file_agree(tmp_path):
    of_children = {name: f"{number // 3:08d}" for number, name in enumerate(IMAGES)}
    as_csv = tmp_path / "patients.csv"
    rows = "\n".join(f"{name},{patient}" for name, patient in of_children.items())
    as_csv.write_text(f"patientId,patient\n{rows}\n")
    as_json = mapping(tmp_path / "m.json", of_children)
    assert read_patients(as_csv) == read_patients(as_json) == of_children
    ids = dict.fromkeys(IMAGES, "")
    assert find(tmp_path, ids, as_csv).hashes == find(tmp_path, ids, as_json).hashes


def test_a_part_is_counted_and_nothing_is_an_error(tmp_path):
    part = mapping(tmp_path / "part.json", dict.fromkeys([*IMAGES[:9], "else"], "00000001"))
    patients = find(tmp_path, dict.fromkeys(IMAGES, "B"), part)
    assert patients.remark == "5 of 14 images are not in part.json"
    assert patients.attributes["patients_meaning"].startswith("these are split by image, the othe")
    assert [patients.hashes[name] != "" for name in IMAGES] == [True] * 9 + [False] * 5
    other = mapping(tmp_path / "other.json", {"else": "00000001"})
    with pytest.raises(UserError, match=r"other.json: names the patients of none of the 14 images"):
        find(tmp_path, dict.fromkeys(IMAGES, ""), other)


def test_whom_a_part_does_not_name_is_not_one_patient(tmp_path):
    part = mapping(tmp_path / "part.json", dict.fromkeys(IMAGES[:9], "00000001"))
    keys = find(tmp_path, dict.fromkeys(IMAGES, "STUDY 7"), part).keys
    assert len(set(keys.values())) == 1 + 5


def test_words_for_nobody_name_no_patient_in_a_file(tmp_path):
    as_csv = tmp_path / "patients.csv"
    words = ["ANONYMOUS", "unknown", "", *"00112233445"]
    rows = "\n".join(f"{name},{word}" for name, word in zip(IMAGES, words, strict=True))
    as_csv.write_text(f"patientId,patient\n{rows}\n")
    patients = find(tmp_path, dict.fromkeys(IMAGES, ""), as_csv)
    assert patients.remark == "3 of 14 images are not in patients.csv"
    assert len(set(patients.keys.values())) == 3 + 6
    null = [{"subset_img_id": name, "img_id": None} for name in IMAGES]
    (tmp_path / "null.json").write_text(json.dumps(null))
    assert read_patients(tmp_path / "null.json") == {}


def test_an_image_of_two_patients_is_refused(tmp_path):
    as_csv = tmp_path / "patients.csv"
    as_csv.write_text("patientId,patient\nfilm-00,1\nfilm-00.dcm,2\n")
    with pytest.raises(UserError, match=r"film-00.dcm is of two patients; correct it"):
        find(tmp_path, dict.fromkeys(IMAGES, ""), as_csv)
    as_csv.write_text("patientId,patient\nfilm-00,1\nfilm-00,2\n")
    with pytest.raises(UserError, match=r"film-00 is of two patients"):
        read_patients(as_csv)


@pytest.mark.parametrize("text", ["{}", '[{"img_id": "1_0.png"}]', '["a"]', "3", "no json"])
def test_another_json_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    if text == "{}":
        assert read_patients(tmp_path / "m.json") == {}
        return
    with pytest.raises(UserError, match=r"m\.json: (expected a list|not readable as JSON)"):
        read_patients(tmp_path / "m.json")


def test_numbers_follow_the_keys():
    assert numbered(["z", "a", "z", " own"]) == ["P00003", "P00002", "P00003", "P00001"]
