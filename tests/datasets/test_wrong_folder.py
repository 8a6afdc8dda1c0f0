"""A folder that is no dataset, or not the one that is wanted: one sentence with what to do."""

import shutil

import pytest

import heart_detection.dataset
import pneumonia_classification.dataset
from common.base.errors import UserError
from common.datasets.layouts import index_films
from common.datasets.wrong_folder import BOXES, VOLUMES, refuse_wrong_folder
from tests.helpers.film_folders import kaggle, rsna
from tests.helpers.wrong_folders import CASES, hearts, unlabelled, volumes, zipped
from tests.tools.wrong_folders import PAGE, page


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_folder_gets_one_sentence(tmp_path, name):
    make, given, kind, sentence = CASES[name]
    folder = tmp_path / "here"
    make(folder)
    with pytest.raises(UserError) as error:
        if kind == "films":
            index_films(folder / given)
        else:
            refuse_wrong_folder(folder / given, {"boxes": BOXES, "volumes": VOLUMES}[kind])
    assert str(error.value) == sentence.format(folder)


@pytest.mark.parametrize(
    ("make", "kind"), [(hearts, BOXES), (volumes, VOLUMES), (zipped, BOXES), (unlabelled, VOLUMES)]
)
def test_a_right_folder_or_one_that_nothing_is_known_of_gets_none(tmp_path, make, kind):
    make(tmp_path / "here")
    if make is zipped:
        with pytest.raises(UserError, match="not unpacked"):
            refuse_wrong_folder(tmp_path / "here", kind)
    else:
        refuse_wrong_folder(tmp_path / "here", kind)


# ---- Folders that are right and lack something: a line of its own


def prepare(project, source, folder, **more):
    module = {"pneumonia": pneumonia_classification, "heart": heart_detection}[project]
    settings = module.config.PrepareSettings(
        preset="cpu", source=source, prepared=folder, workers=1, image_size=16, copies=0, **more
    )
    return module.dataset.prepare(settings)


def test_a_table_names_more_films_than_there_are(tmp_path, capsys):
    rsna(tmp_path / "data", 20)
    for number in range(14):
        (tmp_path / f"data/images/film-{number:02}.dcm").unlink()
    prepare("pneumonia", tmp_path / "data", tmp_path / "p", check=True)
    assert (
        "\n  NO IMAGE: 14 of the 20 images that stage_2_train_labels.csv names are not here; was a "
        "download or unzip broken off? complete it, and start the same command again\n"
    ) in capsys.readouterr().out


def test_a_film_of_no_bytes_is_left_out_and_too_many_stop_the_script(tmp_path, capsys):
    rsna(tmp_path / "data", 12)
    files = sorted((tmp_path / "data" / "images").iterdir())
    files[0].write_bytes(b"")
    prepare("pneumonia", tmp_path / "data", tmp_path / "p", check=True)
    assert "film-00,unreadable,\"empty, no byte is in it; copy it again\",left out" in (
        (tmp_path / "p" / "findings.csv").read_text()
    )  # fmt: skip
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(UserError) as error:
        prepare("pneumonia", tmp_path / "data", tmp_path / "p", check=True)
    assert str(error.value) == (
        f"{tmp_path}/data: 12 of 12 cases cannot be used, more than --bad-files-limit 0.1 allows; "
        "the first: film-00, unreadable: empty, no byte is in it; copy it again; correct them, or "
        f"raise the limit ({tmp_path}/p/findings.csv names all)"
    )


def test_what_is_not_followed_and_other_letters_are_findings(tmp_path):
    rsna(tmp_path / "data", 12)
    text = (tmp_path / "data" / "stage_2_train_labels.csv").read_text()
    (tmp_path / "data" / "stage_2_train_labels.csv").write_text(text.replace("film", "FILM"))
    (tmp_path / "data" / "images" / "link").symlink_to("nowhere")
    prepare("pneumonia", tmp_path / "data", tmp_path / "data" / "p", check=True)
    findings = (tmp_path / "data" / "p" / "findings.csv").read_text().splitlines()
    followed = [line for line in findings if "not followed,a link that leads nowhere" in line]
    assert len(followed) == 1 and "link," not in followed[0]
    assert "FILM-00,other case of letters,its file is film-00.dcm,repaired" in findings
    assert len([line for line in findings if "other case" in line]) == 12


def test_a_prepared_folder_in_its_source_is_no_source(tmp_path, capsys):
    source = tmp_path / "data"
    kaggle(source)
    shutil.move(source / "val", source / "train" / "NORMAL" / "more")
    folder = prepare("pneumonia", source, source / "prepared")
    prepare("pneumonia", source, folder)
    said = capsys.readouterr().out
    assert said.count("is prepared already, nothing to do") == 1
    assert "SYNTHETIC" not in said


@pytest.mark.slow
def test_the_page_is_what_its_command_writes():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.tools.wrong_folders"
