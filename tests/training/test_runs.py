"""A run's folder, begun and opened."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from common.base.errors import UserError
from common.base.files import lock_folder
from common.base.settings import SharedEvaluate, SharedTrain
from common.training import runs
from tests.helpers.fixtures import names
from tests.helpers.run_folders import SETTINGS, end, prepared_in


def test_a_run_says_what_it_was_begun_with(run, prepared):
    config = json.loads((run / "config.json").read_text())
    assert config["project"] == "heart_detection" and config["synthetic"] is False
    assert config["settings"]["epochs"] == 30 and config["settings"]["widths"] == [8, 16]
    assert config["data"] == {
        "key": "k", "settings": {"image_size": 64, "folds": 0}, "sha256": prepared.sha256
    }  # fmt: skip
    assert (run / config["prepared"]).resolve() == prepared.folder.resolve()
    assert not Path(config["prepared"]).is_absolute()
    assert {"python", "keras", "numpy", "commit"} <= set(config["versions"])
    assert config["created"].startswith("20")


@pytest.mark.parametrize(("weights", "stored"), [("none", None), ("imagenet", None), ("r", "../r")])
def test_starting_weights_are_a_path_from_the_run_where_no_name(
    tmp_path, prepared, monkeypatch, weights, stored
):
    monkeypatch.chdir(tmp_path)
    Path(weights).mkdir()
    Path("run").mkdir()
    runs.begin_run(tmp_path / "run", replace(SETTINGS, weights=weights), prepared)
    assert json.loads(Path("run/config.json").read_text()).get("weights") == stored


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


def test_more_epochs_go_on_with_a_run_that_ended(run, prepared, capsys):
    end(run)
    more = replace(SETTINGS, epochs=40)
    with pytest.raises(UserError, match=r"\(--epochs\).*--epochs alone may grow"):
        runs.begin_run(run, replace(SETTINGS, epochs=20), prepared)
    with pytest.raises(UserError, match=r"\(--seed, --epochs\)"):
        runs.begin_run(run, replace(more, seed=1), prepared)
    assert (run / "fitted.json").exists()
    created = json.loads((run / "config.json").read_text())["created"]
    assert runs.begin_run(run, more, prepared)
    assert f"{run}: goes on to 40 epochs" in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert (config["settings"]["epochs"], config["created"]) == (40, created)
    # It did not end yet, and is the run that the same command goes on with.
    assert not (run / "fitted.json").exists() and runs.begin_run(run, more, prepared)
    with pytest.raises(UserError, match=r"\(--epochs\)"):
        runs.begin_run(run, SETTINGS, prepared)


def test_scores_of_fewer_epochs_are_not_those_of_more(run, prepared):
    end(run)
    folder = run / "evaluation" / "test"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    assert not runs.begin_run(run, SETTINGS, prepared)
    assert (folder / "metrics.json").exists()
    assert runs.begin_run(run, replace(SETTINGS, epochs=40), prepared)
    assert [path.name for path in folder.iterdir()] == [f"metrics-{SETTINGS.epochs}-epochs.json"]
    (folder / "metrics.json").write_text('{"new": 1}')
    assert runs.begin_run(run, replace(SETTINGS, epochs=40), prepared)
    assert "new" in (folder / "metrics.json").read_text()


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
    assert f"{run}: was begun with other versions or variables (keras);" in capsys.readouterr().out


def test_variables_that_change_numbers_are_recorded_and_their_change_is_said(
    run, prepared, capsys, monkeypatch
):
    (run / "history.csv").unlink()
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_VAR_password", "Terraform's")
    assert runs.begin_run(run, SETTINGS, prepared)
    recorded = json.loads((run / "config.json").read_text())["environment"]
    assert recorded["OMP_NUM_THREADS"] == "4" and recorded["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert not recorded.keys() & {
        "PATH",
        "HOME",
        "TF_CPP_MIN_LOG_LEVEL",
        "XLA_FLAGS",
        "TF_VAR_password",
    }

    (run / "history.csv").write_text("epoch\n1\n")
    assert runs.begin_run(run, SETTINGS, prepared)
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    assert runs.begin_run(run, SETTINGS, prepared)
    message = "other versions or variables (OMP_NUM_THREADS, TF_NUM_INTRAOP_THREADS);"
    assert f"{run}: was begun with {message}" in capsys.readouterr().out

    # A run of before they were recorded has nothing to differ from.
    config = json.loads((run / "config.json").read_text())
    del config["environment"]
    (run / "config.json").write_text(json.dumps(config))
    assert runs.begin_run(run, SETTINGS, prepared)
    assert capsys.readouterr().out == ""


USED = {"precision": "onednn_bfloat16", "devices": 2, "deterministic_ops": False}


def test_what_a_run_was_computed_with_is_what_counts_not_the_word_auto(tmp_path, prepared):
    run = tmp_path / "new"
    run.mkdir()
    assert runs.begin_run(run, SETTINGS, prepared, computed_with=USED)
    assert json.loads((run / "config.json").read_text())["computed_with"] == USED
    (run / "history.csv").touch()
    assert runs.begin_run(run, SETTINGS, prepared, computed_with=USED)
    # The mend that is named works.
    chosen = replace(SETTINGS, precision="onednn_bfloat16")
    assert runs.begin_run(run, chosen, prepared, computed_with=USED)
    for other, mend in (
        ({"precision": "float32"}, r"would be float32; give --run .*/new --precision onednn_bf"),
        ({"devices": 1}, r"with devices 2, and here it would be 1; .*CUDA_VISIBLE_DEVICES"),
        ({"deterministic_ops": True}, "set TF_DETERMINISTIC_OPS to 0"),
    ):
        with pytest.raises(UserError, match=rf"{mend}.*, or choose another --run"):
            runs.begin_run(run, SETTINGS, prepared, computed_with=USED | other)


def test_a_run_that_does_not_say_what_computed_it_goes_on(run, prepared):
    assert runs.begin_run(run, SETTINGS, prepared, computed_with=USED)
    with pytest.raises(UserError, match=r"other settings \(--precision\)"):
        runs.begin_run(run, replace(SETTINGS, precision="float32"), prepared, computed_with=USED)


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
    demo = replace(SETTINGS, preset="demo")
    for _ in range(2):
        assert runs.find_prepared(project, demo).folder == project.prepared(True)
    assert capsys.readouterr().out.count("preparing first") == 1


def test_data_of_a_sample_in_the_usual_place_is_found(project, capsys):
    project.raw.mkdir(parents=True)
    (project.raw / "SYNTHETIC.json").touch()
    prepared_in(project.prepared(True))
    assert runs.find_prepared(project, SETTINGS).folder == project.prepared(True)
    prepared_in(project.prepared(False))
    assert runs.find_prepared(project, SETTINGS).folder == project.prepared(False)
    assert "preparing" not in capsys.readouterr().out


def test_data_that_was_named_is_not_prepared(project, tmp_path):
    named = replace(SETTINGS, prepared=tmp_path / "none")
    with pytest.raises(UserError, match="there is no such folder"):
        runs.find_prepared(project, named)


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
