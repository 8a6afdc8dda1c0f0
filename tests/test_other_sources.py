"""Another dataset that a run is scored on: how it is read, and what is refused before it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from atrium_segmentation import config as atrium
from atrium_segmentation import evaluate
from common.base.errors import UserError
from common.datasets.classes import Classes
from common.records.preparing import settings_of_data
from common.training import evaluations, runs
from pneumonia_classification import config as pneumonia
from tests.helpers.film_folders import film, table
from tests.helpers.wrong_folders import volumes


@pytest.fixture
def films(tmp_path):
    """Films by class, and a table that says something else of them."""
    for number in range(8):
        film(
            tmp_path / "films" / ("cat", "dog")[number % 2] / f"kid-{number // 4}-{number}.png",
            number,
        )
    rows = [[f"{('cat', 'dog')[n % 2]}/kid-{n // 4}-{n}.png", "abc"[n % 3]] for n in range(8)]
    table(tmp_path / "films" / "images.csv", "image_path,label", rows)
    return tmp_path / "films"


def settings(source, **given):
    return pneumonia.EvaluateSettings(source=source, **given)


def stored(prepare):
    """The settings of a manifest, and one process."""
    return {**settings_of_data(prepare), "workers": 1}


STORED = stored(pneumonia.PrepareSettings(image_size=16, copies=0))


def refused(project, given, folder, settings):
    """What is refused before anything is prepared: the classes or labels themselves."""
    seen = []

    def accept(found):
        seen.append(found)
        raise UserError("others")

    with pytest.raises(UserError, match=r"^others$"):
        project.prepare_to_test(settings, given, folder, accept=accept)
    assert not list(folder.rglob("*.tfrecord*")) and not (folder / "cases.csv").exists()
    return seen[0]


def prepare(given, all_test):
    """In place of a project's own: gives the settings."""
    GIVEN.append(given)
    return given.prepared


GIVEN: list[pneumonia.PrepareSettings] = []


def test_what_is_known_of_a_source_goes_to_its_preparation(films, tmp_path):
    for layout, names in (("auto", ("a", "b", "c")), ("folders", ("cat", "dog"))):
        given = settings(films, layout=layout)
        classes = refused(pneumonia.PROJECT, given, tmp_path / layout, STORED)
        assert classes.names == names
    project = replace(pneumonia.PROJECT, prepare_function=f"{__name__}:prepare")
    known = {"layout": "csv", "patient_pattern": "kid", "patients": tmp_path / "who.csv"}
    given = settings(films, **known, bad_files_limit=0.5, workers=3)
    project.prepare_to_test({**STORED, "layout": "nih", "test_share": 0.5}, given, tmp_path / "p")
    assert GIVEN[-1] == pneumonia.PrepareSettings(
        source=films, prepared=tmp_path / "p", image_size=16, workers=3, overwrite=True,
        **known, bad_files_limit=0.5,
    )  # fmt: skip
    # What is known of another dataset is no setting of its own.
    given = settings(None, layout="nih")
    with pytest.raises(UserError, match=r"^nih: --layout is for another dataset; give --source"):
        evaluations.evaluation_folder(runs.Run(tmp_path, {}, {}), given)
    for name, value in {"patient_pattern": "x", "positive_class": "x", "workers": 2}.items():
        of_none = settings(None, **{name: value})
        with pytest.raises(UserError, match=f"--{name.replace('_', '-')} is for another dataset"):
            evaluations.evaluation_folder(runs.Run(tmp_path, {}, {}), of_none)


def test_other_classes_are_refused_before_any_film_is_prepared(films, tmp_path):
    classes = refused(pneumonia.PROJECT, settings(films), tmp_path / "p", STORED)
    with pytest.raises(UserError, match=r"^films: has the classes a, b and c, and the run was"):
        Classes(("a", "b")).known_places(classes, "films", "the run")
    assert Classes(("C", "a", "b")).known_places(classes, "films", "the run") == [2, 0, 1]


def test_other_labels_are_refused_before_any_volume_is_prepared(tmp_path):
    volumes(tmp_path / "volumes")
    (tmp_path / "volumes" / "dataset.json").unlink()
    given = atrium.EvaluateSettings(source=tmp_path / "volumes")
    labels = refused(atrium.PROJECT, given, tmp_path / "p", stored(atrium.PrepareSettings()))
    assert labels == {0: "background", 1: "foreground"}


def refuse_labels(labels, trained):
    run = runs.Run(Path("run"), {}, {"labels": trained})
    return evaluate._refuse_other_labels(run, "volumes", labels)


ATRIUM = {"0": "background", "1": "left atrium"}
CHAMBERS = {"0": "background", "1": "LA", "2": "LV"}


@pytest.mark.parametrize(
    ("labels", "trained"),
    [
        ({0: "background", 255: "left atrium"}, ATRIUM),
        ({0: "background", 1: "foreground"}, {"0": "background", "255": "left atrium"}),
        ({0: "bg", 5: "la", 7: "lv"}, CHAMBERS),
        ({0: "background", 1: "left atrium", 2: "left ventricle"}, CHAMBERS),
    ],
)
def test_the_same_structures_under_other_values_or_names_are_scored(labels, trained):
    assert refuse_labels(labels, trained) is None


@pytest.mark.parametrize(
    "labels",
    [
        {0: "background", 1: "LA"},
        {0: "background", 1: "LV", 2: "LA"},
        {0: "background", 1: "LV", 2: "RV"},
        {0: "background", 5: "left atrium", 7: "left ventricle"},
    ],
)
def test_other_structures_or_the_same_in_another_order_are_refused(labels):
    with pytest.raises(
        UserError, match=r"has the labels \d .*, and the run was trained on 1 LA, 2 LV;"
    ):
        refuse_labels(labels, CHAMBERS)
