"""Tables of boxes as others write them: corners, fractions, patients, ids with their folder."""

import pytest

from common.base.errors import UserError
from common.datasets.repairs import noted_repairs
from common.datasets.rsna import index_heart, index_pneumonia
from tests.helpers.film_folders import film, table

SIZE = "patientId,x,y,width,height,Target"
LABELS, HEARTS = "stage_2_train_labels.csv", "rsna_heart_detection.csv"
CLASSES = "stage_2_detailed_class_info.csv"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Four films of 40 by 40 pixels, whose files name no patient."""
    folder = tmp_path_factory.mktemp("films")
    for number, name in enumerate("abcd"):
        film(folder / "images" / f"{name}.dcm", number)
    return folder


@pytest.fixture
def source(films, tmp_path):
    (tmp_path / "images").symlink_to(films / "images")
    return tmp_path


def indexed(source, index, file, head, rows):
    """The cases of a table by their names, and what was repaired in it."""
    table(source / file, head, rows)
    with noted_repairs() as repairs:
        cases = index(source)
    return cases.set_index("case"), [repair.detail for repair in repairs]


CORNERS = ["xmin,ymin,xmax,ymax", "x1,y1,x2,y2", "x_min,y_min,x_max,y_max", "x,y,x2,y2",
           "left,top,right,bottom", "x0,y0,x1,y1"]  # fmt: skip


@pytest.mark.parametrize("names", CORNERS)
def test_a_box_may_be_two_corners(source, names):
    rows = [["a", 4, 5, 14, 25, 1], ["b", "", "", "", "", 0]]
    head = f"patientId,{names},Target"
    cases, repairs = indexed(source, index_pneumonia, LABELS, head, rows)
    assert cases.loc["a", "boxes"] == [(4, 5, 14, 25)] and cases.loc["b", "boxes"] == []
    assert "boxes by two corners, not by a corner and a size: 2" in repairs
    rows = [["a", 4, 5, 14, 25], ["b", 0, 1, 30, 40]]
    cases, repairs = indexed(source, index_heart, HEARTS, f"name,{names}", rows)
    assert cases[["x0", "y0", "x1", "y1"]].values.tolist() == [[4, 5, 14, 25], [0, 1, 30, 40]]
    assert "boxes by two corners, not by a corner and a size: 2" in repairs


def test_next_to_two_corners_width_is_that_of_the_image(source):
    head = "patientId,x,y,x2,y2,width,height,Target"
    cases, _ = indexed(source, index_pneumonia, LABELS, head, [["a", 4, 5, 14, 25, 80, 80, 1]])
    assert cases.loc["a", "boxes"] == [(4, 5, 14, 25)]
    head = "name,x0,y0,x1,y1,width,height"
    cases, _ = indexed(source, index_heart, HEARTS, head, [["a", 4, 6, 14, 26, 80, 80]])
    assert cases.loc["a", ["x0", "y0", "x1", "y1"]].tolist() == [2, 3, 7, 13]


@pytest.mark.parametrize(
    "names",
    ["image_width,image_height", "Img Shape X,Img Shape Y", "ImgWidth,ImgHeight", "width,height",
     "original_width,original_height"],
)  # fmt: skip
def test_the_boxes_grid_by_its_other_names(source, names):
    row = ["a", 40, 80, 80, 60, 160, 160]
    cases, _ = indexed(source, index_heart, HEARTS, f"name,x0,y0,w,h,{names}", [row])
    assert cases.loc["a", ["x0", "y0", "x1", "y1"]].tolist() == [10, 20, 30, 35]


@pytest.mark.parametrize("head", [None, "name,x0,y0,w", "name,x0,y0,x1"])
def test_what_is_expected_of_a_table_is_said(source, head):
    with pytest.raises(UserError, match="expected a CSV file with the columns name, x0, y0, w, h;"):
        indexed(source, index_heart, HEARTS, head, [["a", 4, 5, 6]]) if head else index_heart(
            source
        )


FRACTION = ["a", 0.25, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("index", "file", "head", "more", "message"),
    [
        (index_pneumonia, LABELS, SIZE, [1], "write them in pixels, or take their columns away$"),
        (index_heart, HEARTS, "name,x0,y0,w,h", [], "put 1 into the columns img_shape_x and "),
        (
            index_heart, HEARTS, "name,x0,y0,w,h,img_shape_x,img_shape_y", [40, 40],
            "write them in pixels or, where x0 and y0 are the upper left corner, put 1 into",
        ),
    ],
)  # fmt: skip
def test_fractions_are_refused_with_what_to_do(source, index, file, head, more, message):
    # In a table of pixels one box alone that has no pixel is left out.
    rows = [[*FRACTION, *more], ["b", 4, 5, 10, 20, *more]]
    cases, _ = indexed(source, index, file, head, rows)
    assert cases.loc["a", "left_out"] == "box without area: smaller than a pixel"
    assert cases.loc["b", "left_out"] == ""
    with pytest.raises(UserError, match=f"{file}: all 1 boxes lie between 0 and 1, .*{message}"):
        indexed(source, index, file, head, rows[:1])


def test_a_grid_of_one_says_that_boxes_are_fractions(source):
    head = "name,x0,y0,w,h,img_shape_x,img_shape_y"
    rows = [[*FRACTION, 1, 1], ["b", 0.5, 0.5, 0.52, 0.4, 1, 1], ["c", 0.5, 0.5, 0.6, 0.4, 1, 1]]
    cases, _ = indexed(source, index_heart, HEARTS, head, rows)
    assert cases.loc["a", ["x0", "y0", "x1", "y1"]].tolist() == [10, 20, 30, 30]
    # A box may leave its image by a pixel of the image, here by 0.8, and not by 4.
    assert list(cases["left_out"]) == ["", "", "box leaves the image"]


def test_zeros_are_no_box(source):
    rows = [["a", 4, 5, 10, 20, 1], ["b", 0, 0, 0, 0, 0]]
    cases, _ = indexed(source, index_pneumonia, LABELS, SIZE, rows)
    assert cases.loc["b", ["label", "left_out"]].tolist() == [0, ""]
    assert cases.loc["b", "boxes"] == []


@pytest.mark.parametrize(
    ("index", "file", "head"),
    [
        (index_pneumonia, LABELS, "patientId,patient,Target"),
        (index_pneumonia, LABELS, "image_id,patient_id,Target"),
        (index_heart, HEARTS, "name,patient,x0,y0,w,h"),
        (index_heart, HEARTS, "image,Subject ID,x0,y0,w,h"),
    ],
)
def test_a_tables_own_patients_count(source, index, file, head):
    more = [4, 5, 10, 20] if index is index_heart else [1]
    people = {"a": "Ann", "b": "Zed", "c": "Ann", "d": ""}
    cases, _ = indexed(source, index, file, head, [[n, p, *more] for n, p in people.items()])
    patients = cases["patient"]
    assert patients["a"] == patients["c"] and patients.nunique() == 3
    assert cases.attrs["patients_from"] == "the table" and "Ann" not in cases.to_csv()
    rows = [["a", "Ann", *more], ["a", "Zed", *more], ["b", "Ann", *more]]
    cases, _ = indexed(source, index, file, head, rows)
    assert cases.loc["a", "left_out"] == "conflicting labels: two patients"
    assert cases.loc["b", "left_out"] == ""


@pytest.mark.parametrize("before", ["stage_2_train_images/", "images\\", "/home/data/images/"])
def test_an_id_may_begin_with_the_images_folder(source, before):
    rows = [[f"{before}{name}.dcm", 1] for name in "abcd"]
    cases, repairs = indexed(source, index_pneumonia, LABELS, "patientId,Target", rows)
    assert list(cases.index) == list("abcd") and not cases["left_out"].any()
    assert repairs == ["ids with a folder before them: 4"]


def test_a_class_that_contradicts_its_target_is_left_out_with_both(source):
    rows = [["a", 1], ["b", 0], ["c", 0], ["d", 1]]
    classes = [["a", "Normal"], ["b", "Lung Opacity"], ["c", "No Lung Opacity / Not Normal"],
               ["d", "Something of one's own"]]  # fmt: skip
    table(source / CLASSES, "patientId,class", classes)
    cases, _ = indexed(source, index_pneumonia, LABELS, "patientId,Target", rows)
    assert list(cases["left_out"]) == [
        "conflicting labels: Target 1, and class Normal",
        "conflicting labels: Target 0, and class Lung Opacity", "", "",
    ]  # fmt: skip


def test_a_size_that_is_read_as_a_corner_is_said(source):
    rows = [["a", 14, 15, 4, 5], ["b", 4, 5, 14, 25]]
    cases, _ = indexed(source, index_heart, HEARTS, "name,x0,y0,x1,y1", rows)
    assert list(cases["left_out"]) == [
        "box without area: its last two numbers (x1 and y1) are read as a corner; call a width and "
        "a height w and h",
        "",
    ]
    cases, _ = indexed(source, index_heart, HEARTS, "name,x0,y0,w,h", [["a", 14, 15, 0, 5]])
    assert list(cases["left_out"]) == ["box without area"]


# ---- Films that were made smaller


def shrunk(folder, suffix, boxes, file=LABELS):
    """Films of 40 by 40 pixels, each with its box of another grid or none."""
    rows = []
    for number, box in enumerate(boxes):
        film(folder / "images" / f"{number}{suffix}", number)
        rows.append([number, *(box or ["", "", "", ""]), int(bool(box))])
    return indexed(folder, index_pneumonia, file, SIZE, rows)


BOXES = [(512, 256, 128, 512), (0, 0, 1024, 1024), (100, 200, 200, 150), None]


def test_boxes_of_the_challenge_are_scaled_to_smaller_pictures(tmp_path):
    cases, repairs = shrunk(tmp_path, ".png", BOXES)
    assert "boxes of 1024 x 1024, scaled to 40 x 40: 3" in repairs
    assert not cases["left_out"].any() and list(cases["label"]) == [1, 1, 1, 0]
    for own, box in zip(cases["boxes"], BOXES, strict=True):
        x, y, width, height = box or (0, 0, 0, 0)
        corners = [x, y, x + width, y + height]
        assert own == ([pytest.approx([edge * 40 / 1024 for edge in corners])] if box else [])


@pytest.mark.parametrize(
    ("suffix", "file", "boxes"),
    [
        (".dcm", LABELS, BOXES[:2]),  # such films are never made smaller
        (".png", "labels.csv", BOXES[:2]),  # whose boxes are of nobody knows what
        (".png", LABELS, [(0, 0, 2000, 9), *BOXES[:1]]),  # of a larger film than the challenge's
    ],
)
def test_of_another_grid_the_films_are_kept_without_boxes(tmp_path, suffix, file, boxes):
    cases, repairs = shrunk(tmp_path, suffix, [*boxes * 2, None], file)
    assert "films whose boxes, in pixels of a larger image, are left away: 4" in repairs
    assert not cases["left_out"].any() and not any(cases["boxes"])
    assert list(cases["label"]) == [1, 1, 1, 1, 0]


def test_of_many_boxes_one_that_leaves_its_film_is_wrong_itself(tmp_path):
    cases, repairs = shrunk(tmp_path, ".png", [(90, 9, 9, 9), *[(1, 2, 3, 4)] * 10])
    assert list(cases["left_out"]).count("box leaves the image") == 1 and repairs == []
    assert sorted(map(len, cases["boxes"])) == [1] * 11
