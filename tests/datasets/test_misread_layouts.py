"""Folders and tables that could be taken for another layout: read as they are meant, or refused."""

import pytest

from common.base.errors import UserError
from common.datasets.class_names import numbered_classes, split_named
from common.datasets.duplicates import find_duplicates
from common.datasets.images import OTHER_CASE
from common.datasets.layouts import index_films
from common.datasets.repairs import noted_repairs
from common.imaging.image_files import BY_SCRIPTS
from common.records.file_findings import unused
from tests.helpers.film_folders import answer, film, nih, put, rsna, table

# ---- Folders by class


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # A class's images/ and masks/.
        (["A/images/1.png", "A/masks/1.png", "B/images/2.png", "B/masks/2.png"], "A B"),
        (["A/1.png", "A/lung masks/1.png", "B/2.png", "B/infection_masks/2.png"], "A B"),
        # A split by other names, in one folder too many, or within the classes.
        (["training_set/A/1.png", "test_set/B/2.png", "training_set/B/3.png"],
         "B test, A train, B train"),
        (["Train_Data/A/1.png", "validate/B/2.png", "Train_Data/B/3.png"],
         "A train, B train, B validation"),
        (["seg_train/seg_train/A/1.png", "seg_test/seg_test/B/2.png", "seg_pred/3.png"],
         "B test, A train"),
        (["A/train/1.png", "A/test/2.png", "B/train/3.png"], "A test, A train, B train"),
        # A folder of a class that is called as a split is none.
        (["A/1.png", "A/test/2.png", "B/3.png"], "A A B"),
        # Views of each class, one of which is called normal.
        (["NORMAL/PA/1.png", "NORMAL/AP/2.png", "B/PA/3.png", "B/AP/4.png"],
         "B, B, NORMAL, NORMAL"),
        # Blanks and letters are no classes.
        (["NORMAL /1.png", "Normal/2.png", "Normal/3.png", "B/4.png"], "B Normal Normal Normal"),
        # A copy within the folder, as Kaggle packed it: the split's films count.
        (["train/A/1.png", "train/B/2.png", "chest/train/A/1.png"], "A train, B train"),
    ],
)  # fmt: skip
def test_folders_by_class(tmp_path, names, expected):
    said = answer(index_films(put(tmp_path, *names)))
    expected = expected.split(", " if "," in expected else " ")
    assert [said[path] for path in sorted(said)] == expected
    assert not [path for path in said if "mask" in path]


@pytest.mark.parametrize(
    ("names", "place", "why"),
    [
        (["A/1.png", "A/masks/1.png", "B/2.png"], "A/masks", "segmentation masks are no films"),
        (["train/A/1.png", "train/B/1.png", "more/C/1.png"], "more",
         "its films are in no folder of the split"),
        (["train/A/1.png", "train/B/1.png", "train/2.png"], "train",
         "films that are in no folder of a class"),
    ],
)  # fmt: skip
def test_what_is_in_no_class_is_said(tmp_path, names, place, why):
    assert index_films(put(tmp_path, *names)).attrs["faults"] == {place: why}


def test_a_folder_that_a_script_wrote_is_a_finding(tmp_path):
    put(tmp_path, "A/1.png", "B/2.png", "C/3.png", "A/more/4.png", "prepared/5.png")
    (tmp_path / "C" / "predictions.json").touch()
    assert index_films(tmp_path, layout="folders").attrs["classes"] == ["A", "B", "C", "prepared"]
    for folder in ("C", "A/more", "prepared"):
        (tmp_path / folder / "part.json").touch()
    frame = index_films(tmp_path)
    assert frame.attrs["classes"] == ["A", "B"]
    found = [f for f in unused(tmp_path, frame, tmp_path / "prepared") if f.where != "A/1.png"]
    assert {finding.where: finding.detail for finding in found} == dict.fromkeys(
        ("A/more", "C"), BY_SCRIPTS
    )


def test_pictures_of_a_class_that_are_not_read_are_a_finding(tmp_path):
    put(tmp_path, "A/1.png", "A/2.png", "B/3.png", "B/4.png")
    for name in ("A/more/5.tif", "A/more/6.TIFF", "A/7.bmp", "A/deep/er/8.dcm.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0")
    frame = index_films(tmp_path)
    assert [*answer(frame)] == ["A/1.png", "A/2.png", "B/3.png", "B/4.png"]
    found = list(unused(tmp_path, frame, tmp_path / "prepared"))
    assert ("A", "4 of its 6 files are pictures that are not read (.bmp, .dcm.gz, .tif, .tiff); "
            "convert them to DICOM, PNG or JPEG") in [f[::2] for f in found]  # fmt: skip


def test_a_mask_among_films_is_one_finding(tmp_path):
    put(tmp_path, "A/1.png", "A/1_mask.png", "B/2.png")
    found = list(unused(tmp_path, index_films(tmp_path), tmp_path / "prepared"))
    assert [finding.where for finding in found] == ["A/1_mask.png"]


def test_a_file_that_is_in_two_classes_by_a_link_is_left_out(tmp_path):
    put(tmp_path, "A/1.png", "A/2.png", "B/3.png")
    (tmp_path / "A" / "all").symlink_to("..")
    assert answer(index_films(tmp_path)) == {"A/1.png": "A", "A/2.png": "A", "B/3.png": "B"}
    (tmp_path / "B" / "link.png").symlink_to("../A/1.png")
    frame = index_films(tmp_path)
    assert answer(frame) == {"A/2.png": "A", "B/3.png": "B"}
    assert list(frame.query("case == '1'")["left_out"]) == ["conflicting labels"]


@pytest.mark.parametrize("layout", ["folders", "csv", "rsna"])
def test_equal_films_are_several_where_a_store_holds_them_once(tmp_path, layout):
    # As git-annex, DataLad and the cache of Hugging Face do.
    film(tmp_path / "store" / "0.png")
    film(tmp_path / "store" / "1.png", 1)
    labels = {"A0": "A", "A1": "A", "A2": "A", "B0": "B", "B1": "B"}
    here = tmp_path / "set"
    for name, label in labels.items():
        file = here / (label if layout == "folders" else "images") / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(tmp_path / "store" / f"{int(name in ('A1', 'B1'))}.png")
    if layout == "csv":
        cells = [[f"images/{name}.png", label] for name, label in labels.items()]
        table(here / "images.csv", "image_path,label", cells)
    if layout == "rsna":
        cells = [[name, int(label == "B")] for name, label in labels.items()]
        table(here / "stage_2_train_labels.csv", "patientId,Target", cells)
    frame = index_films(here)
    assert frame.attrs["layout"] == layout and not frame["left_out"].any()
    assert list(frame["case"]) == list(labels) and list(frame["label"]) == [0, 0, 0, 1, 1]
    assert list(find_duplicates(frame, here, 1)) == ["", "", "A0", "A0", "A1"]


def test_what_may_be_no_classes_is_settled_by_naming_the_layout(tmp_path):
    put(tmp_path, "PA/A/1.png", "PA/B/2.png", "AP/A/3.png")
    with pytest.raises(UserError, match="AP, PA each hold a folder a, so which folders are"):
        index_films(tmp_path)
    frame = index_films(tmp_path, layout="folders")
    assert [*answer(frame).values()] == ["PA", "PA", "AP"]


def test_the_patient_is_in_the_name_of_a_film_and_not_in_its_folders(tmp_path):
    names = ("person1_virus_1.png", "person1_virus_2.png", "person2_virus_3.png")
    put(tmp_path, *(f"{s}/{c}/{n}" for s in ("train", "test") for c in "AB" for n in names))
    frame = index_films(tmp_path)
    assert frame["patient"].nunique() == 2 and not frame.attrs["patients_remark"]
    assert index_films(tmp_path, pattern=r"^(person\d)_")["patient"].nunique() == 2


def test_chexperts_folders_are_patients_whatever_its_films_are_called(tmp_path):
    names = [f"{n % 2}/patient{n // 2:05}/study{n}/view{n}_frontal.png" for n in range(6)]
    frame = index_films(put(tmp_path, *names))
    assert frame["patient"].nunique() == 3 and not frame.attrs["patients_remark"]
    assert index_films(tmp_path, pattern=r"view(\d)")["patient"].nunique() == 6


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["COVID", "non-COVID"], ["non-COVID", "COVID"]),
        (["effusion", "no_effusion"], ["no_effusion", "effusion"]),
        (["pneumonia", "without pneumonia"], ["without pneumonia", "pneumonia"]),
        (["TB absent", "A TB present"], ["A TB present", "TB absent"]),
        (["covid_negative", "COVID positive"], ["covid_negative", "COVID positive"]),
        (["CT_COVID", "CT_NonCOVID"], ["CT_NonCOVID", "CT_COVID"]),
        (["with_pneumonia", "without_pneumonia"], ["without_pneumonia", "with_pneumonia"]),
        (["Infected", "Uninfected"], ["Uninfected", "Infected"]),
        (["0_pneumonia", "1_normal"], ["1_normal", "0_pneumonia"]),
        (["Malignant cases", "Normal cases"], ["Normal cases", "Malignant cases"]),
        (["Non-normal", "Normal"], ["Normal", "Non-normal"]),
        (["abnormal", "normal"], ["normal", "abnormal"]),
        (["1", "-1"], ["-1", "1"]),
        (["True", "False"], ["False", "True"]),
    ],
)
def test_what_is_named_with_a_no_is_the_negative_class(names, ordered):
    assert numbered_classes(names) == ordered


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("TRAIN", "train"), ("TrainingSet", "train"), ("seg_train", "train"), ("trainset", "train"),
        ("validate", "validation"), ("Val-Images", "validation"), ("test data", "test"),
        ("train_val", "train"), ("train_test", ""), ("latest", ""), ("attest", ""), ("NORMAL", ""),
    ],
)  # fmt: skip
def test_the_split_in_a_name(name, split):
    assert split_named(name)[0] == split


# ---- A table of images


def rows(labels, path="im/{}.png"):
    return [[path.format(number), label] for number, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("file", "head", "path"),
    [
        ("images.csv", "filename,label", "{}.png"),
        ("labels.csv", "Image Path,Class", "{}.png"),
        ("Labels.CSV", "image_id,finding", "{}"),
        ("a.csv", "image_path;label", "{}.PNG"),
        ("a.tsv", "id\tdiagnosis", "x/{}.png"),
        ("a.csv", "X_ray_image_name,Label", "{}.png"),
    ],
)
def test_a_table_next_to_folders_is_found_in_any_spelling(tmp_path, file, head, path):
    put(tmp_path, "icu/a0.png", "icu/a1.png", "ward/a2.png", "ward/a3.png")
    sign = next(sign for sign in ";\t," if sign in head)
    cells = [[path.format(f"a{number}"), "sick" if number % 2 else "normal"] for number in range(4)]
    text = "\n".join([head, *(sign.join(row) for row in cells)])
    (tmp_path / file).write_text(text + "\n")
    frame = index_films(tmp_path)
    assert frame.attrs["layout"] == "csv" and frame.attrs["table"] == file
    assert [*answer(frame).values()] == ["normal", "sick"] * 2


def test_a_table_that_names_no_film_is_not_the_datasets(tmp_path):
    put(tmp_path, "A/1.png", "B/2.png")
    table(tmp_path / "counts.csv", "name,class", [["A", 0], ["B", 1]])
    table(tmp_path / "ages.csv", "age,sex", [[1, "F"], [2, "M"], [2, "M"]])
    assert index_films(tmp_path).attrs["layout"] == "folders"
    who = table(tmp_path / "who.csv", "image,patient", [["1.png", "p"], ["2.png", "p"]])
    with pytest.raises(UserError, match=r"who\.csv: names films and cannot be read as"):
        index_films(tmp_path)
    assert index_films(tmp_path, who)["patient"].nunique() == 1
    assert index_films(tmp_path, layout="folders")["patient"].nunique() == 2


@pytest.mark.parametrize(
    ("there", "paths", "used"),
    [
        # Another folder's film of the same name is another film.
        (["old/0.png", "normal/1.png"], ["old/0.png", "pneu/1.png"], ["old/0.png"]),
        (["a/0.png", "b/1.png"], ["a/0.png", "a/1.png", "b/0.png", "b/1.png"],
         ["a/0.png", "b/1.png"]),
        # All from another place: its folder is here, or above.
        (["x/a/0.png", "x/b/0.png"], ["/y/a/0.png", "/y/b/0.png"], ["x/a/0.png", "x/b/0.png"]),
        (["0.png", "1.png"], ["C:\\y\\0.png", "C:\\y\\1.png"], ["0.png", "1.png"]),
        # Without a suffix, in other letters, by a longer way, and of two the one so named.
        (["a/0.png", "a/1.png"], ["a/0", "A/1.PNG"], ["a/0.png", "a/1.png"]),
        (["a/0.png", "a/1.png"], ["a/0.png", "a/../a/0.png", "a/1.png"], ["a/0.png", "a/1.png"]),
        (["a/x.png", "a/X.png"], ["b/x.png", "b/X.png"], ["a/X.png", "a/x.png"]),
    ],
)  # fmt: skip
def test_a_path_is_that_of_one_film(tmp_path, there, paths, used):
    put(tmp_path, *there)
    table(tmp_path / "images.csv", "image_path,label", [[path, "s"] for path in paths])
    assert sorted(answer(index_films(tmp_path))) == used


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (["0", "1.0", "0.0", "1"], ["negative", "positive"], ["negative", "positive"] * 2),
        (["normal", "x", "nan", "NA"], ["normal", "x"], ["normal", "x"]),
        (["none", "x", "None", "X"], ["none", "X"], ["none", "X"] * 2),
        (["0", "1", "-1", "1"], ["negative", "positive"], ["negative", "positive", "positive"]),
        (["No Finding", "Mass|Edema", "edema", "Mass"], ["Edema", "Mass"],
         ["", "Edema|Mass", "Edema", "Mass"]),
        (["Mass;Edema", "Edema ; Mass", "Mass", ""], ["Edema", "Mass"],
         ["Edema|Mass", "Edema|Mass", "Mass", ""]),
    ],
)  # fmt: skip
def test_the_labels_of_a_table(tmp_path, labels, classes, said):
    put(tmp_path, *(f"im/{number}.png" for number in range(4)))
    table(tmp_path / "images.csv", "image_path,label", rows(labels))
    frame = index_films(tmp_path)
    assert [name.casefold() for name in frame.attrs["classes"]] == [n.casefold() for n in classes]
    assert [text.casefold() for text in answer(frame).values()] == [t.casefold() for t in said]


def test_rows_of_one_film_agree_in_all_but_letters(tmp_path):
    put(tmp_path, "0.png", "1.png", "2.png")
    cells = [["0.png", "Sick", "1"], ["0.PNG", "sick", "1.0"], ["1.png", "well", "2"],
             ["./1.png", "sick", "2"], ["2.png", "well", "3"]]  # fmt: skip
    table(tmp_path / "images.csv", "image_path,label,patient", cells)
    with noted_repairs() as repairs:
        frame = index_films(tmp_path)
    assert list(frame["left_out"]) == ["", "conflicting labels: sick and well", ""]
    assert not [repair for repair in repairs if repair.check == OTHER_CASE]


def test_the_tables_of_a_split_are_read_together(tmp_path):
    put(tmp_path, "0.png", "1.png", "2.png")
    table(tmp_path / "train.csv", "image_path,label", [["0.png", "a"], ["1.png", "b"]])
    table(tmp_path / "test.csv", "image_path,label", [["2.png", "a"]])
    frame = index_films(tmp_path)
    assert answer(frame) == {"0.png": "a train", "1.png": "b train", "2.png": "a test"}
    assert frame.attrs["table"] == "test.csv and train.csv"
    table(tmp_path / "images.csv", "image_path,label", [["0.png", "a"], ["1.png", "b"]])
    assert answer(index_films(tmp_path)) == {"0.png": "a", "1.png": "b"}


# ---- The tables of others


def test_nih_in_other_letters(tmp_path):
    nih(tmp_path, 6)
    file = tmp_path / "Data_Entry_2017.csv"
    file.write_text(file.read_text().replace("No Finding", "no finding").replace("Pneu", "pneu"))
    file.rename(tmp_path / "data_entry_2017.CSV")
    frame = index_films(tmp_path)
    assert len(frame.attrs["classes"]) == 14 and set(frame["label"]) == {
        "", "Cardiomegaly|Effusion", "Pneumonia",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "id_of"),
    [
        ("Stage_2_Train_Labels.CSV", "{}"),
        ("stage_2_train_labels (1).csv", "{}"),
        ("stage_2_train_labels.csv", "stage_2_train_images/{}.dcm"),
        ("stage_2_train_labels.csv", "D:\\kaggle\\{}.dcm"),
    ],
)
def test_the_challenges_table_in_another_spelling(tmp_path, name, id_of):
    file = rsna(tmp_path, 4) / "stage_2_train_labels.csv"
    file.unlink()
    cells = [[id_of.format(f"film-{number:02}"), number % 2] for number in range(4)]
    table(tmp_path / name, "patientId,Target", cells)
    frame = index_films(tmp_path)
    assert frame.attrs["layout"] == "rsna" and not frame["left_out"].any()
    assert list(frame["label"]) == [0, 1, 0, 1]


def test_ids_that_are_none_are_no_example_of_ids(tmp_path):
    rsna(tmp_path, 4)
    table(tmp_path / "stage_2_train_labels.csv", "patientId,Target", [["a/b", 0], ["other", 1]])
    with pytest.raises(UserError, match="none of its 1 ids, such as other, is that of a film"):
        index_films(tmp_path)


@pytest.mark.parametrize("id_of", ["{}", "images/{}.dcm", "{}.DCM"])
def test_a_table_of_patients_in_another_spelling(tmp_path, id_of):
    rsna(tmp_path, 4)
    names = [f"film-{number:02}" for number in range(4)]
    ids = [id_of.format(name.upper() if "DCM" in id_of else name) for name in names]
    cells = zip(ids, ["1", "1.0", "0", "0.0"], strict=True)
    file = table(tmp_path / "who.csv", "image,patient", cells)
    frame = index_films(tmp_path, file)
    assert list(frame["patient"].factorize()[0]) == [0, 0, 1, 1]


# ---- What lies next to films


def test_a_mask_is_no_film_in_place_of_one_that_is_missing(tmp_path):
    put(tmp_path, *(f"masks/{n}.png" for n in range(6)), *(f"images/{n}.png" for n in range(5)))
    table(tmp_path / "t.csv", "image,label", [[f"images/{n}.png", n % 2] for n in range(6)])
    frame = index_films(tmp_path)
    assert list(frame["left_out"]) == [""] * 5 + ["no image"]
    assert set(answer(frame)) == {f"images/{n}.png" for n in range(5)}


def test_of_a_film_and_a_mask_of_equal_names_the_film_is_meant(tmp_path):
    put(tmp_path, *(f"{of}/{n}.png" for of in ("images", "masks") for n in range(4)))
    table(tmp_path / "t.csv", "image,label", [[f"{n}.png", n % 2] for n in range(4)])
    assert set(answer(index_films(tmp_path))) == {f"images/{n}.png" for n in range(4)}


@pytest.mark.parametrize(
    "mask",
    ["A/1_mask.png", "A/1_mask_1.png", "A/1-seg.png", "A/segmentations/1.png", "A/gt/1.png",
     "A/Ground Truth/1.png", "A/annotations/1.png"],
)  # fmt: skip
def test_masks_next_to_the_films_of_a_class(tmp_path, mask):
    frame = index_films(put(tmp_path, "A/1.png", "B/1 (2).png", mask), layout="folders")
    assert answer(frame) == {"A/1.png": "A", "B/1 (2).png": "B"}


def test_a_name_like_a_masks_is_a_film_without_its_film(tmp_path):
    frame = index_films(put(tmp_path, "A/1_mask.png", "B/2.png"))
    assert answer(frame) == {"A/1_mask.png": "A", "B/2.png": "B"}


def test_a_class_in_another_class_is_refused(tmp_path):
    put(tmp_path, "NORMAL/1.png", "PNEUMONIA/2.png", "PNEUMONIA/NORMAL/3.png")
    with pytest.raises(UserError, match="PNEUMONIA holds a folder normal, which is a class too"):
        index_films(tmp_path)


def test_films_of_a_split_that_are_in_no_class_are_told(tmp_path):
    frame = index_films(put(tmp_path, "train/A/1.png", "train/B/2.png", "test/test/3.png"))
    assert any(str(path).endswith("test/test") for path in frame.attrs["faults"])
