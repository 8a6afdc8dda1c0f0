"""Folders that are patients or studies are no classes; folders of classes stay classes."""

import pytest

from common.base.errors import UserError
from common.datasets.layouts import index_films
from tests.helpers.film_folders import film, pixels
from tests.helpers.fixtures import write_dicom

REFUSED = "its folders are patients or their studies"


def export(folder, names, patients, films=1, **elements):
    """A folder for each name, with films of the patient of the same place."""
    for number, (name, patient) in enumerate(zip(names, patients, strict=True)):
        for film_number in range(films):
            path = folder / name / "SE000001" / f"IM{film_number:06}"
            path.parent.mkdir(parents=True, exist_ok=True)
            own = {key: value.format(number) for key, value in elements.items()}
            write_dicom(path, pixels(10 * number + film_number), PatientID=patient, **own)
    return folder


@pytest.mark.parametrize(
    ("names", "patients", "elements"),
    [
        # Named after the patient, with another's name or in other letters; after a study.
        (["A77", "B78"], ["A77", "B78"], {}),
        (["DOE^ANN_4711", "ROE^BOB_4712"], ["4711", "4712"], {}),
        (["A-0077", "b 78"], ["A0077", "B78"], {}),
        (["S0", "S1", "S2"], ["Q"] * 3, {"AccessionNumber": "S{}"}),
        (["1.2.840.3.5.1", "1.2.840.3.5.2"], ["", ""], {}),
        # Numbered, where nothing else says so.
        (["PT000000", "PT000001"], ["", ""], {}),
        (["patient1", "patient2"], ["", ""], {}),
        # Each of one patient, and no two of the same.
        (["a", "b", "c", "d", "e"], ["P1", "P2", "P3", "P4", "P5"], {}),
        # A film or two in each of many.
        ([f"{number:05}" for number in range(12)], [""] * 12, {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("split", ["", "train"])
def test_patients_are_no_classes(tmp_path, names, patients, elements, split):
    export(tmp_path / split, names, patients, 2, **elements)
    with pytest.raises(UserError, match=REFUSED) as error:
        index_films(tmp_path)
    # What a file says of its patient is not quoted.
    assert not any(name in str(error.value) for name in patients if name)
    index_films(tmp_path, layout="folders")


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["NORMAL", "PNEUMONIA"], ["A77", "B78"]),
        (["grade 1", "grade 2", "grade 3"], ["1", "2", "3"]),
        (["pT1", "pT2", "pT3"], ["", "", ""]),
        (["0", "1"], ["1", "2"]),
        (["a", "b", "c", "d", "e", "f"], ["P1", "P1", "P2", "P2", "P3", "P3"]),
    ],
)  # fmt: skip
def test_classes_stay_classes(tmp_path, names, patients):
    frame = index_films(export(tmp_path, names, patients))
    assert sorted(frame.attrs["classes"]) == sorted(names)


def test_a_class_with_few_films_in_each_split_is_a_class(tmp_path):
    for number in range(24):
        film(tmp_path / ("train", "test")[number % 2] / f"cell {number // 2}" / "1.png", number)
    with pytest.raises(UserError, match=REFUSED):
        index_films(tmp_path)
    for number in range(48):
        film(tmp_path / "train" / f"cell {number // 4}" / f"{number}.png", 100 + number)
    assert len(index_films(tmp_path).attrs["classes"]) == 12


def test_the_studies_of_one_patient_are_no_classes_either(tmp_path):
    export(tmp_path, ["1.2.840.77.1.5", "1.2.840.77.1.6"], ["A77", "A77"])
    with pytest.raises(UserError, match=REFUSED):
        index_films(tmp_path)
