"""A run's folder, begun and opened."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from common import runs
from common.errors import UserError
from common.records import Prepared
from common.settings import Project, SharedEvaluate, SharedTrain
from tests.common.fixtures import names


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
    return Here("heart_detection", "rsna", "sample", {}, tmp_path)


def prepared_in(folder, key="k", splits=("train", "validation", "test"), project="heart_detection"):
    """A prepared folder of a case a split."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {split: [{"file": split, "records": 1, "bytes": 0}] for split in splits}
    content = {
        "project": project, "dataset": "rsna", "synthetic": False, "key": key,
        "settings": {"image_size": 64, "folds": 0}, "shards": shards,
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
    assert config["data"] == {"key": "k", "settings": {"image_size": 64, "folds": 0}}
    assert config["prepared"] == str(prepared.folder.resolve())
    assert {"versions", "created"} <= set(config)


def test_a_run_goes_on_until_it_has_ended(run, prepared):
    assert runs.begin_run(run, SETTINGS, prepared)
    end(run)
    assert not runs.begin_run(run, SETTINGS, prepared)


def test_places_and_the_presets_name_may_change(run, prepared):
    elsewhere = replace(SETTINGS, preset="gpu", run=run, prepared=Path("x"))
    assert runs.begin_run(run, elsewhere, prepared)


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


def test_other_data_is_refused(run, prepared):
    with pytest.raises(UserError, match=r"other settings \(--prepared\)"):
        runs.begin_run(run, SETTINGS, prepared_in(prepared.folder, key="other"))


def test_before_its_first_epoch_a_run_takes_other_settings(run, prepared):
    (run / "history.csv").unlink()
    assert runs.begin_run(run, replace(SETTINGS, epochs=31), prepared)
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
        found, folder = runs.evaluation_folder(opened, SharedEvaluate(**given))
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
            runs.evaluation_folder(opened, SharedEvaluate(**given))
    with pytest.raises(UserError, match="there is no such folder"):
        runs.evaluation_folder(opened, SharedEvaluate(source=tmp_path / "none"))


def data(opened, tmp_path, **given):
    def never(folder):
        pytest.fail(f"prepared {folder}")

    return runs.evaluation_data(opened, SharedEvaluate(**given), tmp_path / "e", never)


def test_the_data_of_an_evaluation(opened, prepared, tmp_path):
    found, splits = data(opened, tmp_path)
    assert found.folder == prepared.folder.resolve() and splits == ["test"]
    assert data(opened, tmp_path, split="validation")[1] == ["validation"]


def test_another_dataset_is_all_test(opened, tmp_path):
    source = SharedEvaluate(source=tmp_path)
    found, splits = runs.evaluation_data(
        opened, source, tmp_path / "e", lambda folder: prepared_in(folder, splits=["test"]).folder
    )
    assert found.folder == tmp_path / "e" / "prepared" and splits == ["test"]


def test_data_that_was_prepared_anew_is_not_scored(opened, prepared, tmp_path):
    prepared_in(prepared.folder, key="new")
    with pytest.raises(UserError, match="was prepared anew after"):
        data(opened, tmp_path)


def test_a_split_without_cases_is_not_scored(opened, prepared, tmp_path):
    prepared_in(prepared.folder, splits=["train", "validation"])
    with pytest.raises(UserError, match="holds no test split; evaluate another dataset"):
        data(opened, tmp_path)


def test_metrics_begin_alike_in_all_projects(opened, prepared):
    cases = pd.DataFrame({"patient": ["a", "a", "b"]})
    found = runs.metrics_of(opened, prepared, cases, "test", SharedEvaluate(seed=3), {"n": 3})
    assert list(found) == [
        "project", "dataset", "synthetic", "split", "n_patients", "seed", "folds", "n", "versions",
        "created",
    ]  # fmt: skip
    assert (found["n_patients"], found["seed"], found["synthetic"]) == (2, 3, False)
    assert found["folds"] == {"of": 0, "fold": 0, "data": "k"}
    made_up = replace(prepared, manifest={**prepared.manifest, "synthetic": True})
    found = runs.metrics_of(opened, made_up, cases, "test", SharedEvaluate(), {})
    assert found["synthetic"] is True
