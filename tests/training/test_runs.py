"""A run's folder, begun and opened."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.base.errors import UserError
from common.base.files import lock_folder
from common.base.project import Project
from common.base.settings import SharedEvaluate, SharedTrain
from common.records.prepared import Prepared
from common.training import evaluations, runs
from common.training.trained import picture_mark, trained_as
from tests.helpers.fixtures import names


@dataclass(frozen=True)
class TrainSettings(SharedTrain):
    """With a setting that JSON keeps in another form."""

    widths: tuple[int, ...] = (8, 16)


@dataclass(frozen=True)
class Here(Project):
    """A project in a folder of its own."""

    root: Path = Path()

    def prepared(self, synthetic: bool) -> Path:
        return self.root / ("SYNTHETIC" if synthetic else "real")

    @property
    def runs(self) -> Path:
        return self.root / "runs"


SETTINGS = TrainSettings(preset="cpu")


@pytest.fixture
def project(tmp_path):
    return Here("heart_detection", "rsna", "sample", {}, root=tmp_path)


def prepared_in(folder, key="k", splits=("train", "validation", "test"), sha256="0", **settings):
    """A prepared folder of a case a split."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {
        split: [{"file": split, "records": 1, "bytes": 0, "sha256": sha256}] for split in splits
    }
    content = {
        "project": "heart_detection", "dataset": "rsna", "synthetic": False, "key": key,
        "settings": {"image_size": 64, "folds": 0, **settings}, "shards": shards,
        "split_warning": "", "patients_known": True,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content))
    return Prepared(folder, content)


@pytest.fixture
def prepared(project):
    return prepared_in(project.prepared(False))


@pytest.fixture
def run(tmp_path, prepared):
    """A run that is at work."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    assert runs.begin_run(folder, SETTINGS, prepared)
    (folder / "history.csv").write_text("epoch\n1\n")
    return folder


def end(run, **fitted):
    (run / "fitted.json").write_text(json.dumps(fitted))


def test_a_run_says_what_it_was_begun_with(run, prepared):
    config = json.loads((run / "config.json").read_text())
    assert config["project"] == "heart_detection" and config["synthetic"] is False
    assert config["settings"]["epochs"] == 30 and config["settings"]["widths"] == [8, 16]
    assert config["data"] == {
        "key": "k", "settings": {"image_size": 64, "folds": 0}, "sha256": prepared.sha256
    }  # fmt: skip
    assert config["prepared"] == str(prepared.folder.resolve())
    assert {"python", "keras", "numpy", "commit"} <= set(config["versions"])
    assert config["created"].startswith("20")


def test_a_run_goes_on_until_it_has_ended(run, prepared):
    assert runs.begin_run(run, SETTINGS, prepared)
    end(run)
    assert not runs.begin_run(run, SETTINGS, prepared)


def test_places_the_presets_name_and_what_tensorboard_shows_may_change(run, prepared):
    elsewhere = replace(SETTINGS, preset="gpu", run=run, prepared=Path("x"))
    assert runs.begin_run(run, elsewhere, prepared)
    assert runs.begin_run(run, replace(SETTINGS, tensorboard_images=0, profile=5), prepared)


def test_other_settings_are_refused_and_named(run, prepared):
    before = (run / "config.json").read_bytes()
    other = replace(SETTINGS, epochs=31, learning_rate=0.5, widths=(8,))
    with pytest.raises(UserError, match=r"other settings \(--epochs, --learning-rate, --widths\)"):
        runs.begin_run(run, other, prepared)
    assert (run / "config.json").read_bytes() == before
    # Nor may a run that ended take them.
    end(run)
    with pytest.raises(UserError, match=r"\(--epochs, --learning-rate, --widths\)"):
        runs.begin_run(run, other, prepared)


def test_a_run_from_before_there_was_a_setting_had_its_default(run, prepared):
    config = json.loads((run / "config.json").read_text())
    default = SharedTrain().learning_rate
    assert config["settings"].pop("learning_rate") == default
    (run / "config.json").write_text(json.dumps(config))
    assert runs.begin_run(run, SETTINGS, prepared)
    with pytest.raises(UserError, match=r"other settings \(--learning-rate\)"):
        runs.begin_run(run, replace(SETTINGS, learning_rate=2 * default), prepared)


def test_a_run_of_before_a_setting_was_renamed_goes_on_and_opens(project, run, prepared):
    config = json.loads((run / "config.json").read_text())
    for new, old in (("ema_momentum", "averaging"), ("tensorboard_images", "board_pictures")):
        config["settings"][old] = config["settings"].pop(new)
    config["settings"]["averaging"] = 0.9
    (run / "config.json").write_text(json.dumps(config))
    assert runs.begin_run(run, replace(SETTINGS, ema_momentum=0.9), prepared)
    with pytest.raises(UserError, match=r"other settings \(--ema-momentum\)"):
        runs.begin_run(run, SETTINGS, prepared)
    end(run)
    for opened in (runs.open_run(project, SharedEvaluate(run=run)), runs.read_run(run)):
        assert opened.config["settings"]["ema_momentum"] == 0.9
        assert "averaging" not in opened.config["settings"]


def test_other_data_is_refused(run, prepared):
    with pytest.raises(UserError, match=r"other settings \(--prepared\)"):
        runs.begin_run(run, SETTINGS, prepared_in(prepared.folder, key="other"))
    # The same settings and files, and other records.
    with pytest.raises(UserError, match=r"other settings \(--prepared\)"):
        runs.begin_run(run, SETTINGS, prepared_in(prepared.folder, sha256="1"))


def test_going_on_with_other_versions_is_said(run, prepared, capsys):
    assert runs.begin_run(run, SETTINGS, prepared)
    assert capsys.readouterr().out == ""
    config = json.loads((run / "config.json").read_text())
    config["versions"]["keras"] = "2.4.3"
    (run / "config.json").write_text(json.dumps(config))
    assert runs.begin_run(run, SETTINGS, prepared)
    assert f"{run}: was begun with another version (keras)" in capsys.readouterr().out


def test_before_its_first_epoch_a_run_takes_other_settings(run, prepared):
    (run / "history.csv").unlink()
    # What the broken off try was to learn from is another thing than what this one does.
    (run / runs.SEEN).write_text("of other data")
    assert runs.begin_run(run, replace(SETTINGS, epochs=31), prepared)
    assert not (run / runs.SEEN).exists()
    assert json.loads((run / "config.json").read_text())["settings"]["epochs"] == 31


def test_a_foreign_folder_is_left_alone(tmp_path, prepared):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").touch()
    with pytest.raises(UserError, match="is not empty and is no run; choose another --run"):
        runs.begin_run(folder, SETTINGS, prepared)
    assert names(folder) == ["a.txt"]


def test_the_lock_is_nothing_foreign(tmp_path, prepared):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".lock").touch()
    assert runs.begin_run(tmp_path / "new", SETTINGS, prepared)


def test_a_run_that_did_not_end_is_gone_on_with(project, prepared, run):
    assert runs.run_folder(project, SETTINGS, prepared) == run
    with lock_folder(run):
        # A second one at the same time is a run of its own.
        assert runs.run_folder(project, SETTINGS, prepared) != run
    assert runs.run_folder(project, replace(SETTINGS, epochs=31), prepared) != run
    end(run)
    assert runs.run_folder(project, SETTINGS, prepared) != run


def test_a_new_run_is_named_after_the_time(project, prepared):
    found = runs.run_folder(project, SETTINGS, prepared)
    assert found.parent == project.runs and found.name.startswith("20")
    made_up = replace(prepared, manifest={**prepared.manifest, "synthetic": True})
    assert runs.run_folder(project, SETTINGS, made_up).name.startswith("SYNTHETIC-20")
    assert runs.run_folder(project, replace(SETTINGS, run=Path("x")), made_up) == Path("x")


def test_data_is_prepared_where_there_is_none(project, capsys):
    asked = []

    def prepare():
        asked.append(1)
        return prepared_in(project.prepared(True)).folder

    demo = replace(SETTINGS, preset="demo")
    for _ in range(2):
        assert runs.find_prepared(project, demo, prepare).folder == project.prepared(True)
    assert asked == [1]
    assert "preparing first" in capsys.readouterr().out


def test_data_that_was_named_is_not_prepared(project, tmp_path):
    named = replace(SETTINGS, prepared=tmp_path / "none")
    with pytest.raises(UserError, match="there is no such folder"):
        runs.find_prepared(project, named, lambda: pytest.fail("prepared"))


def test_a_run_is_opened(project, run):
    end(run, mean_box=[1, 2])
    found = runs.open_run(project, SharedEvaluate(run=run))
    assert found.folder == run and found.fitted == {"mean_box": [1, 2]}
    assert found.config["settings"]["seed"] == SETTINGS.seed
    assert runs.open_run(project, SharedEvaluate()).folder == run


@pytest.mark.damaged
def test_what_is_no_finished_run_of_this_project(project, run, tmp_path):
    with pytest.raises(UserError, match="this run did not end; start the same"):
        runs.open_run(project, SharedEvaluate(run=run))
    with pytest.raises(UserError, match=r"is no run \(no config.json\)"):
        runs.open_run(project, SharedEvaluate(run=tmp_path / "none"))
    with pytest.raises(UserError, match="there is no run that ended"):
        runs.open_run(project, SharedEvaluate())
    end(run)
    with pytest.raises(UserError, match="is a run of heart_detection, not of atrium"):
        runs.open_run(replace(project, name="atrium"), SharedEvaluate(run=run))
    for content in ("[]", '{"project": "heart_detection"}', "{"):
        (run / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json: (is damaged|not readable)"):
            runs.open_run(project, SharedEvaluate(run=run))


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
        lambda *given: prepared_in(given[-1], splits=["test"]).folder,
    )
    assert found.folder == tmp_path / "e" / "prepared" and splits == ["test"]


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

    def prepare(stored, source, folder):
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
    cases = pd.DataFrame({"patient": ["a", "a", "b"]})
    found = evaluations.metrics_of(
        opened, prepared, cases, "test", SharedEvaluate(seed=3), {"n": 3}
    )
    assert list(found) == [
        "schema_version", "project", "dataset", "synthetic", "split", "n_patients",
        "patients_known", "split_warning", "seed", "folds", "trained", "n", "versions", "created",
    ]  # fmt: skip
    assert (found["n_patients"], found["seed"], found["synthetic"]) == (2, 3, False)
    assert found["folds"] == {"of": 0, "fold": 0, "data": "k"}
    made_up = replace(prepared, manifest={**prepared.manifest, "synthetic": True})
    found = evaluations.metrics_of(opened, made_up, cases, "test", SharedEvaluate(), {})
    assert (found["synthetic"], found["trained"]["synthetic"]) == (True, False)
    of_fiction = replace(opened, config={**opened.config, "synthetic": True})
    found = evaluations.metrics_of(of_fiction, prepared, cases, "test", SharedEvaluate(), {})
    assert (found["synthetic"], found["trained"]["synthetic"]) == (False, True)


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
