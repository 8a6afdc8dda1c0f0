"""Films with equal pixels, and the patients who share them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

import common.datasets.duplicates
from common.base.processes import each
from common.base.settings import SharedPrepare
from common.datasets.duplicates import find_duplicates
from common.datasets.images import stored_or_reason
from common.datasets.patient_splits import patient_groups, split_by_patient
from common.datasets.rsna import index_heart, index_pneumonia
from common.imaging.dicom import read_radiograph
from common.records import preparing, summary
from common.records.prepared import open_prepared
from pneumonia_classification.config import PrepareSettings
from pneumonia_classification.dataset import prepare
from tests.helpers import film_folders
from tests.helpers.fixtures import jpeg_bytes, real_data, soft_image, write_dicom

IMAGE = soft_image(40, 56)
JPEG = jpeg_bytes(IMAGE)
BITS_12 = IMAGE.astype(np.uint16) * 16


def altered(pixels, by=1):
    """The same but for one pixel."""
    other = pixels.copy()
    other[7, 11] += by
    return other


def commented(jpeg):
    """The same picture with a comment in it."""
    return jpeg[:2] + b"\xff\xfe\x00\x06text" + jpeg[2:]


def table_of(folder, cases, paths):
    """A table of films with these paths in a folder."""
    stored = [stored_or_reason(folder / path)[1] for path in paths]
    return pd.DataFrame({"case": cases, "path": paths, "stored": stored}, dtype=object)


@pytest.fixture
def duplicates(tmp_path):
    """What is found among the files that a test wrote to ``tmp_path``."""

    def originals(workers=1):
        names = sorted(path.name for path in tmp_path.iterdir())
        cases = table_of(tmp_path, [name.split(".")[0] for name in names], names)
        duplicate_of = find_duplicates(cases, tmp_path, workers)
        pairs = zip(cases["case"], duplicate_of, strict=True)
        return {case: original for case, original in pairs if original}

    return originals


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, which other processes do."""
    names = []

    def noted(function, files, *others, **options):
        if function is common.datasets.duplicates._pixels:
            names.extend(file.name for file in files)
        return each(function, files, *others, **options)

    monkeypatch.setattr(common.datasets.duplicates, "each", noted)
    return names


# ---- Which films are equal


def test_the_same_bytes_under_other_names(tmp_path, duplicates, decoded):
    write_dicom(tmp_path / "a.dcm", IMAGE, jpeg=JPEG, PatientID="1", PixelSpacing=[0.1, 0.1])
    write_dicom(tmp_path / "b.dcm", altered(IMAGE), jpeg=jpeg_bytes(altered(IMAGE, 9)))
    write_dicom(tmp_path / "c.dcm", IMAGE, jpeg=JPEG, PatientID="2", LargestImagePixelValue=255)
    write_dicom(tmp_path / "d.dcm", IMAGE, jpeg=commented(JPEG), PatientID="3")
    assert duplicates() == {"c": "a", "d": "a"}
    # Bytes tell, but for whether they can be decoded at all.
    assert decoded == ["a.dcm"]


def test_a_set_of_one_coding_is_not_decoded(tmp_path, duplicates, decoded):
    for number in range(4):
        write_dicom(tmp_path / f"{number}.dcm", altered(IMAGE, number), PixelSpacing=[1, number])
    write_dicom(tmp_path / "tall.dcm", soft_image(56, 40), photometric="MONOCHROME1")
    assert duplicates() == {} and decoded == []


def test_the_same_pixels_coded_otherwise(tmp_path, duplicates):
    write_dicom(tmp_path / "a.dcm", IMAGE, jpeg=JPEG)
    picture = read_radiograph(tmp_path / "a.dcm").pixels
    assert not np.array_equal(picture, IMAGE)
    write_dicom(tmp_path / "b.dcm", picture)
    write_dicom(tmp_path / "c.dcm", 255 - picture, photometric="MONOCHROME1")
    write_dicom(tmp_path / "d.dcm", picture.astype(np.uint16), bits=8)
    write_dicom(tmp_path / "e.dcm", picture, syntax=uid.ImplicitVRLittleEndian)
    window = {"WindowCenter": 2040.5, "WindowWidth": 4081}
    write_dicom(tmp_path / "f.dcm", picture.astype(np.uint16) * 16, bits=12, **window)
    write_dicom(tmp_path / "other.dcm", IMAGE)
    assert duplicates() == dict.fromkeys("bcdef", "a")


def test_the_same_pixels_as_a_picture_of_another_format(tmp_path, duplicates):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "b.png")
    Image.fromarray(IMAGE).save(tmp_path / "other.png")
    assert duplicates() == {"b": "a"}


@pytest.mark.parametrize("options", [{}, {"photometric": "MONOCHROME1"}])
def test_one_pixel_makes_another_film(tmp_path, duplicates, options):
    write_dicom(tmp_path / "a.dcm", IMAGE)
    write_dicom(tmp_path / "b.dcm", altered(255 - IMAGE if options else IMAGE), **options)
    assert duplicates() == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"photometric": "MONOCHROME1"}),
        ({}, {"PresentationLUTShape": "INVERSE"}),
        (
            {"bits": 12, "WindowCenter": 2000, "WindowWidth": 900},
            {"bits": 12, "WindowCenter": 2000, "WindowWidth": 901},
        ),
        ({"bits": 12}, {"bits": 12, "PixelPaddingValue": int(BITS_12.max())}),
    ],
)
def test_the_same_bytes_shown_otherwise_are_another_film(tmp_path, duplicates, first, second):
    pixels = BITS_12 if "bits" in second else IMAGE
    write_dicom(tmp_path / "a.dcm", pixels, **first)
    write_dicom(tmp_path / "b.dcm", pixels, **second)
    assert (tmp_path / "a.dcm").read_bytes()[-500:] == (tmp_path / "b.dcm").read_bytes()[-500:]
    assert duplicates() == {}


def test_the_same_bytes_in_another_shape_are_another_film(tmp_path, duplicates):
    black = np.zeros((40, 56), np.uint8)
    write_dicom(tmp_path / "a.dcm", black)
    write_dicom(tmp_path / "b.dcm", black.T)
    write_dicom(tmp_path / "c.dcm", black + 255, photometric="MONOCHROME1")
    assert duplicates() == {"c": "a"}


def test_what_cant_be_read_equals_nothing(tmp_path, duplicates):
    write_dicom(tmp_path / "a.dcm", IMAGE)
    write_dicom(tmp_path / "b.dcm", IMAGE)
    for name in ("broken1", "broken2"):
        (tmp_path / f"{name}.dcm").write_bytes(b"nothing")
    whole = (tmp_path / "a.dcm").read_bytes()
    for name in ("cut1", "cut2"):
        (tmp_path / f"{name}.dcm").write_bytes(whole[:-100])
    # Sound but for their quantisation table: only a decoder sees that it is missing.
    tall = IMAGE.T.copy()
    jpeg = jpeg_bytes(tall)
    start = jpeg.index(b"\xff\xdb")
    end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
    for name in ("jpeg1", "jpeg2"):
        write_dicom(tmp_path / f"{name}.dcm", tall, jpeg=jpeg[:start] + jpeg[end:])
    assert stored_or_reason(tmp_path / "jpeg1.dcm")[1] is not None
    assert duplicates() == {"b": "a"}
    cases = table_of(tmp_path, ["x", "y"], ["absent.dcm", "absent.dcm"])
    assert list(find_duplicates(cases, tmp_path)) == ["", ""]


def test_the_first_case_is_the_first_by_path_in_any_order_of_rows(tmp_path):
    # And not by its id: the key of an id-map.csv decides those.
    for name in "abc":
        write_dicom(tmp_path / f"{name}.dcm", IMAGE)
    cases = table_of(tmp_path, ["3", "1", "2"], ["a.dcm", "b.dcm", "c.dcm"])
    cases.index = [7, 5, 9]
    result = find_duplicates(cases, tmp_path)
    assert result.to_dict() == {7: "", 5: "3", 9: "3"}


def test_processes_find_what_one_finds(tmp_path, duplicates):
    for number, pixels in enumerate([IMAGE, 255 - IMAGE, IMAGE, altered(IMAGE), 255 - IMAGE]):
        photometric = f"MONOCHROME{1 + number % 2}"
        write_dicom(tmp_path / f"{number}.dcm", pixels, photometric=photometric)
    alone = duplicates()
    assert alone == {"1": "0", "2": "0"}
    assert duplicates(workers=2) == alone


PICTURES = [IMAGE[:16, :16], IMAGE[3:19, 3:19]]
CODINGS = [
    lambda path, pixels: write_dicom(path, pixels),
    lambda path, pixels: write_dicom(path, pixels, syntax=uid.ExplicitVRBigEndian),
    lambda path, pixels: write_dicom(path, 255 - pixels, photometric="MONOCHROME1"),
    lambda path, pixels: write_dicom(path, pixels, jpeg=jpeg_bytes(pixels)),
]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from(CODINGS)), max_size=8))
def test_what_is_found_is_what_decoding_every_film_gives(tmp_path_factory, films):
    folder = tmp_path_factory.mktemp("films")
    first, expected = {}, []
    for number, (picture, write) in enumerate(films):
        write(folder / f"{number}.dcm", PICTURES[picture])
        pixels = read_radiograph(folder / f"{number}.dcm").pixels.tobytes()
        original = first.setdefault(pixels, str(number))
        expected.append("" if original == str(number) else original)
    names = [str(number) for number in range(len(films))]
    cases = table_of(folder, names, [f"{name}.dcm" for name in names])
    assert list(find_duplicates(cases, folder)) == expected


# ---- Who is dealt together


@st.composite
def shared_films(draw):
    """Cases of 6 to 20 patients, some of whose films are equal."""
    patients = draw(st.integers(6, 20))
    owners = list(range(patients)) + draw(st.lists(st.integers(0, patients - 1), max_size=20))
    films = draw(st.lists(st.integers(0, 60), min_size=len(owners), max_size=len(owners)))
    first, duplicate_of = {}, []
    for number, film in enumerate(films):
        original = first.setdefault(film, f"c{number:02d}")
        duplicate_of.append("" if original == f"c{number:02d}" else original)
    return pd.DataFrame(
        {
            "case": [f"c{number:02d}" for number in range(len(owners))],
            "patient": [f"p{patient:02d}" for patient in owners],
            "film": films,
            "duplicate_of": duplicate_of,
        }
    )


def closure(cases):
    """The group of every patient, by joining sets until nothing changes."""
    group = {patient: {patient} for patient in cases["patient"]}
    for _ in group:
        for _, sharing in cases.groupby("film")["patient"]:
            joined = set().union(*(group[patient] for patient in sharing))
            for patient in joined:
                group[patient] = joined
    return group


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(shared_films(), st.randoms(use_true_random=False))
def test_groups_are_the_closure_of_sharing_and_named_by_their_first_patient(cases, shuffler):
    expected = cases["patient"].map({p: min(group) for p, group in closure(cases).items()})
    pd.testing.assert_series_equal(patient_groups(cases), expected, check_names=False)
    order = list(cases.index)
    shuffler.shuffle(order)
    result = patient_groups(cases.loc[order]).sort_index()
    pd.testing.assert_series_equal(result, expected, check_names=False)


@settings(max_examples=15, deadline=None)
@given(shared_films(), st.integers(0, 9), st.sampled_from([0, 2]))
def test_neither_a_patient_nor_a_film_is_on_two_sides(cases, seed, folds):
    if patient_groups(cases).nunique() < 4:
        return
    dealing = SharedPrepare(validation_share=0.25, test_share=0.25, folds=folds, seed=seed)
    split = preparing.split(cases, cases["film"] % 2, dealing, all_test=False)
    assert split.groupby(cases["patient"]).nunique().eq(1).all()
    assert split.groupby(cases["film"]).nunique().eq(1).all()
    assert split.nunique() > 1


def test_without_shared_films_nothing_is_dealt_otherwise():
    cases = pd.DataFrame({"case": list("abcdef"), "patient": list("vwxyzz"), "duplicate_of": ""})
    assert patient_groups(cases).equals(cases["patient"])
    cases.loc[5, "duplicate_of"] = "e"  # of the same patient
    assert patient_groups(cases).equals(cases["patient"])


# ---- What is said


def test_duplicates_are_counted(capsys):
    cases = pd.DataFrame(
        {
            "case": list("abcd"),
            "patient": list("wwxy"),
            "label": [0, 0, 1, 0],
            "duplicate_of": ["", "a", "a", ""],
            "split": "train",
        }
    )
    summary.print_duplicates(cases, "label", ["label"])
    assert capsys.readouterr().out == (
        "  exact duplicates: 2 films equal another, 1 across patients (dealt together), "
        "1 with another label; duplicate_of in cases.csv names them\n"
    )
    cases["split"] = ["test", "test", "train", "train"]
    summary.print_duplicates(cases, "label", ["label"])
    assert "1 across patients, 1 IN ANOTHER SPLIT than the film" in capsys.readouterr().out
    summary.print_duplicates(cases[:2], "label", ["label"])
    assert "1 film equals another; duplicate_of in" in capsys.readouterr().out
    summary.print_duplicates(cases[:1], "label", ["label"])
    assert capsys.readouterr().out == ""


def test_two_patients_who_share_a_film_are_prepared_on_one_side(tmp_path, capsys):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    rows = ["patientId,Target"]
    for number in range(12):
        film = soft_image(32, 32) if number in (2, 9) else soft_image(32, 33 + number)[:, -32:]
        name = f"c{number:02d}"
        write_dicom(source / "images" / f"{name}.dcm", film, PatientID=f"p{number:02d}")
        rows.append(f"{name},{number % 2}")
    (source / "stage_2_train_labels.csv").write_text("\n".join(rows) + "\n")
    shares = {"validation_share": 0.25, "test_share": 0.25, "seed": 3}
    labels = pd.Series([number % 2 for number in range(12)])
    apart = split_by_patient(pd.Series(range(12)), labels, folds=0, **shares)
    assert apart[2] != apart[9]  # by patients alone, this seed would part them

    settings = PrepareSettings("cpu", source=source, image_size=32, workers=1, copies=0, **shares)
    for all_test in (False, True):
        folder = tmp_path / f"all-test-{all_test}"
        prepare(dataclasses.replace(settings, prepared=folder), all_test)
        printed = capsys.readouterr().out
        assert "1 film equals another, 1 across patients (dealt together), 1 with ano" in printed
        cases = open_prepared(folder, "pneumonia_classification").cases().set_index("case")
        assert cases.loc["c09", "duplicate_of"] == "c02"
        assert (cases.drop("c09")["duplicate_of"] == "").all()
        assert cases.loc["c02", "split"] == cases.loc["c09", "split"] != ""
        assert cases["patient"].nunique() == 12


def test_equal_pixels_that_are_seen_when_they_are_decoded_are_said(tmp_path, capsys):
    # One format and other bytes: the split is dealt before they are decoded.
    source = tmp_path / "source"
    for number in range(12):
        path = film_folders.film(source / "AB"[number % 2] / f"c{number:02d}.png", number)
        if number in (4, 8):
            Image.open(path).save(path.with_name(f"c1{number:02d}.png"), compress_level=1)
    shares = {"validation_share": 0.25, "test_share": 0.25}
    settings = PrepareSettings(
        "cpu", source=source, prepared=tmp_path / "p", image_size=16, workers=1, copies=0, **shares
    )
    prepare(settings)
    cases = open_prepared(tmp_path / "p", "pneumonia_classification").cases().set_index("case")
    assert dict(cases["duplicate_of"][lambda original: original != ""]) == {
        "c104": "c04", "c108": "c08",
    }  # fmt: skip
    splits = cases["split"]
    apart = sum(splits[f"c{number:02}"] != splits[f"c1{number:02}"] for number in (4, 8))
    printed = capsys.readouterr().out
    assert apart and f"EQUAL PIXELS ON TWO SIDES: {apart} of 14 cases" in printed
    assert f"{apart} IN ANOTHER SPLIT than the film that it equals" in printed
    warning = open_prepared(tmp_path / "p", "pneumonia_classification").split_warning
    assert f"; {apart} images equal one on another side" in warning
    findings = pd.read_csv(tmp_path / "p" / "findings.csv", dtype=str)
    details = findings[findings["check"] == "exact duplicate"].set_index("where")["found"]
    assert dict(details) == {
        f"c1{number:02}": f"equals c{number:02}, of another patient" for number in (4, 8)
    }


# ---- Real folders


@pytest.mark.parametrize("name", ["heart", "rsna-pneumonia"])
def test_the_real_folders(name):
    source = real_data(name)
    cases = (index_heart if name == "heart" else index_pneumonia)(source)
    assert not find_duplicates(cases, source).any()
