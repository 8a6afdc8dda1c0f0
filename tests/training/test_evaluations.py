"""An evaluation of a run: its folder, its data, and what metrics.json says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.base.errors import UserError
from common.base.settings import SharedEvaluate
from common.training import evaluations, runs
from common.training.trained import picture_mark, trained_as
from tests.helpers.run_folders import SETTINGS, end, prepared_in


@pytest.fixture
def opened(project, run):
    end(run)
    return runs.open_run(project, SharedEvaluate(run=run))


def test_the_name_of_an_evaluation(opened, tmp_path):
    def name(**given):
        found, folder = evaluations.evaluation_folder(opened, SharedEvaluate(**given))
        assert folder == opened.folder / "evaluation" / found
        return found

    source = tmp_path / "clinic"
    source.mkdir()
    assert name() == "test"
    assert name(split="validation") == "validation"
    assert name(name="mine") == "mine"
    assert name(source=source) == "clinic"
    assert name(source=source, name="mine") == "mine"


def test_whose_each_image_of_another_dataset_is_goes_to_its_preparation(opened, tmp_path):
    given = SharedEvaluate(source=tmp_path, patients=tmp_path / "patients.csv")
    handed = []

    def prepare(stored, given, folder):
        handed.append(given.patients)
        return prepared_in(folder, splits=["test"]).folder

    evaluations.evaluation_data(opened, given, tmp_path / "e", prepare)
    assert handed == [given.patients]
    with pytest.raises(
        UserError, match=r"patients\.csv: --patients is for another dataset; give --s"
    ):
        evaluations.evaluation_folder(opened, replace(given, source=None))


def test_no_evaluation_can_pass_for_another_split(opened, tmp_path):
    (tmp_path / "test").mkdir()
    for given in (
        {"source": tmp_path / "test"},
        {"source": tmp_path, "name": "test"},
        {"source": tmp_path, "name": "validation"},
        {"split": "validation", "name": "test"},
    ):
        with pytest.raises(UserError, match="--name"):
            evaluations.evaluation_folder(opened, SharedEvaluate(**given))
    with pytest.raises(UserError, match="there is no such folder"):
        evaluations.evaluation_folder(opened, SharedEvaluate(source=tmp_path / "none"))


def data(opened, tmp_path, **given):
    def never(*arguments):
        pytest.fail(f"prepared {arguments}")

    return evaluations.evaluation_data(opened, SharedEvaluate(**given), tmp_path / "e", never)


def test_the_data_of_an_evaluation(opened, prepared, tmp_path):
    found, splits = data(opened, tmp_path)
    assert found.folder == prepared.folder.resolve() and splits == ["test"]
    assert data(opened, tmp_path, split="validation")[1] == ["validation"]


def test_another_dataset_is_all_test(opened, tmp_path):
    source = SharedEvaluate(source=tmp_path)
    found, splits = evaluations.evaluation_data(
        opened,
        source,
        tmp_path / "e",
        lambda *given: prepared_in(given[2], splits=["test"]).folder,
    )
    assert found.folder == tmp_path / "e" / "prepared" and splits == ["test"]


def test_a_source_whose_folder_bears_the_name_of_another_replaces_nothing(opened, tmp_path):
    prepared = []

    def prepare(stored, given, folder):
        prepared.append(given.source)
        return prepared_in(folder.with_name(given.source.parent.name), splits=["test"]).folder

    def evaluate(hospital):
        source = tmp_path / hospital / "images"
        source.mkdir(parents=True, exist_ok=True)
        return evaluations.evaluation_data(
            opened, SharedEvaluate(source=source), tmp_path / "e", prepare
        )

    evaluate("a")
    with pytest.raises(UserError, match=r"e: is the evaluation of another source.*give --name"):
        evaluate("b")
    assert prepared == [tmp_path / "a/images"]
    # No path is told.
    [key] = [path for path in (tmp_path / "e").iterdir() if path.is_file()]
    assert str(tmp_path) not in key.read_text()


@pytest.mark.parametrize("new", [{"key": "new"}, {"sha256": "1"}])
def test_data_that_was_prepared_anew_is_not_scored(opened, prepared, tmp_path, new):
    prepared_in(prepared.folder, **new)
    with pytest.raises(UserError, match="was prepared anew after"):
        data(opened, tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_size": 32}, "image_size 32, not 64"),
        ({"window": "wide"}, "window wide, not none"),
        ({"folds": 5, "seed": 3, "test_share": 0.5}, ""),
    ],
)
def test_data_that_was_prepared_in_another_way_is_not_scored(opened, tmp_path, settings, said):
    source = SharedEvaluate(source=tmp_path)

    def prepare(stored, given, folder):
        return prepared_in(folder, splits=["test"], **settings).folder

    if not said:
        assert evaluations.evaluation_data(opened, source, tmp_path / "e", prepare)[1] == ["test"]
        return
    with pytest.raises(UserError, match=rf"was prepared in another way .* \({said}\); train again"):
        evaluations.evaluation_data(opened, source, tmp_path / "e", prepare)


@pytest.mark.damaged
def test_a_new_evaluation_takes_the_place_of_an_old_one_whole(tmp_path):
    folder = tmp_path / "test"
    (folder / "boxes").mkdir(parents=True)
    for name in ("metrics.json", "boxes/worst.png", "report.html"):
        (folder / name).write_text("old")

    def content():
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.*")
                if path.is_file() and path.name != ".lock"}  # fmt: skip

    before = content()
    with pytest.raises(ZeroDivisionError), evaluations.new_evaluation(folder, "boxes") as new:
        (new / "metrics.json").write_text("new")
        _ = 1 / 0
    assert content() == before
    with evaluations.new_evaluation(folder, "boxes") as new:
        (new / "boxes").mkdir()
        for name in ("metrics.json", "boxes/best.png"):
            (new / name).write_text("new")
        with pytest.raises(UserError, match="is writing here"), evaluations.new_evaluation(folder):
            pass
    assert content() == {
        "metrics.json": "new", "boxes/best.png": "new", "report.html": "old"
    }  # fmt: skip


def test_a_split_without_cases_is_not_scored(project, tmp_path):
    prepared = prepared_in(project.prepared(False), splits=["train", "validation"])
    folder = tmp_path / "run"
    folder.mkdir()
    assert runs.begin_run(folder, SETTINGS, prepared)
    end(folder)
    opened = runs.open_run(project, SharedEvaluate(run=folder))
    with pytest.raises(UserError, match="holds no test split; evaluate another dataset"):
        data(opened, tmp_path)


def test_metrics_begin_alike_in_all_projects(opened, prepared):
    cases = pd.DataFrame({"case": ["1", "2", "3"], "patient": ["a", "a", "b"]})
    table = cases.assign(split="test", left_out="")
    table.to_csv(prepared.folder / "cases.csv", index=False)
    found = evaluations.metrics_of(
        opened, prepared, cases, "test", SharedEvaluate(seed=3), {"n": 3}
    )
    assert list(found) == [
        "schema_version", "project", "dataset", "trained_on_synthetic", "data_synthetic",
        "synthetic", "split", "other_source", "n_patients", "patients_known", "split_warning",
        "seed", "folds", "trained", "n", "participants", "versions", "created",
    ]  # fmt: skip
    (scored,) = found["participants"]["splits"]
    assert (scored["split"], scored["scored"], scored["patients"]) == ("test", True, 2)
    assert (found["n_patients"], found["seed"], found["synthetic"]) == (2, 3, False)
    assert found["folds"] == {"of": 0, "fold": 0, "data": "k"}
    made_up = replace(prepared, manifest={**prepared.manifest, "synthetic": True})
    found = evaluations.metrics_of(opened, made_up, cases, "test", SharedEvaluate(), {})
    facts = ("data_synthetic", "trained_on_synthetic", "synthetic")
    assert [found[fact] for fact in facts] == [True, False, True]
    assert found["trained"]["synthetic"] is False
    of_fiction = replace(opened, config={**opened.config, "synthetic": True})
    found = evaluations.metrics_of(of_fiction, prepared, cases, "test", SharedEvaluate(), {})
    assert [found[fact] for fact in facts] == [False, True, True]
    assert found["trained"]["synthetic"] is True


def test_runs_that_differ_in_seed_and_fold_are_of_one_training(opened):
    def trained(**settings):
        config = {**opened.config, "settings": {**opened.config["settings"], **settings}}
        return trained_as(config)

    first = trained()
    assert (first["seed"], first["data_sha256"]) == (2022, opened.config["data"]["sha256"])
    for same in ({"seed": 1}, {"fold": 2}, {"run": "b"}, {"preset": "gpu"}, {"profile": 3}):
        assert trained(**same)["settings_key"] == first["settings_key"]
    for other in ({"epochs": 99}, {"precision": "float32"}, {"weights": "a"}):
        assert trained(**other)["settings_key"] != first["settings_key"]
    # A run of an earlier version, whose setting had another name.
    old = dict(opened.config["settings"])
    old["averaging"] = old.pop("ema_momentum")
    assert trained_as({**opened.config, "settings": old}) == first
    assert trained(seed=1)["seed"] == 1


def test_the_mark_of_pictures_says_which_is_made_up(opened):
    of_fiction = {**opened.config, "synthetic": True}
    assert picture_mark(opened.config) is False
    assert picture_mark(opened.config, True) is picture_mark(of_fiction, True) is True
    assert picture_mark(of_fiction).split() == ["MODEL", "OF", "SYNTHETIC", "DATA"]


def test_a_prediction_that_is_no_number_is_an_error_that_names_the_case(opened):
    boxes = np.ones((3, 4))
    evaluations.refuse_nan(opened, ["a", "b", "c"], boxes)
    boxes[1, 2] = np.nan
    boxes[2, 0] = np.inf
    with pytest.raises(
        UserError, match=r"predicts NaN for 2 of 3 cases, the first: b; .* train again"
    ):
        evaluations.refuse_nan(opened, pd.Series(["a", "b", "c"]), boxes)
