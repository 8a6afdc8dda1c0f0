"""The whole way on each layout: prepare, one epoch, evaluate, predict, report."""

import csv
import importlib
import json
import shutil
import sys

import pytest

from tests.helpers.film_folders import film, kaggle, nih, rsna, table

PROJECT = "pneumonia_classification"


def rsna_of_pictures(folder):
    rsna(folder, 24, ".png", "stage_1_train_images")


def rows(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_whole_way_on_each_layout(tmp_path, monkeypatch, capsys):
    def script(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, "--preset", "cpu", *map(str, arguments)])
        importlib.import_module(f"{PROJECT}.{name}").main()

    def through(layout, source, *more):
        here = tmp_path / layout
        script("prepare_data", "--source", source, "--prepared", here / "prepared", "--image-size",
               32, "--copies", 1, "--workers", 1, *more)  # fmt: skip
        assert {row["left_out"] for row in rows(here / "prepared" / "cases.csv")} == {""}
        script("train", "--prepared", here / "prepared", "--run", here / "run", "--epochs", 1,
               "--batch-size", 8, "--box-weight", 0, "--image-size", 32, "--weights", "none",
               "--tensorboard-images", 0)  # fmt: skip
        script("evaluate", "--run", here / "run", "--pictures", 1)
        metrics = json.loads((here / "run/evaluation/test/metrics.json").read_text())
        assert (here / "run/evaluation/test/report.html").is_file()
        films = here / "films"
        film(films / "$$ [1]_{2}.png", 1)
        film(films / "b c.jpeg", 2)
        film(films / "d.dcm", 3)
        script("predict", films, "--run", here / "run", "--output", here / "said", "--workers", 1)
        predictions = rows(here / "said" / "predictions.csv")
        assert [row["error"] for row in predictions] == [""] * 3
        assert all((here / "said" / row["picture"]).is_file() for row in predictions)
        return metrics

    rsna_of_pictures(tmp_path / "a")
    through("rsna", tmp_path / "a")
    kaggle(tmp_path / "b", 18)
    assert through("folders", tmp_path / "b")["n"] == 15
    nih(tmp_path / "c", 36)
    through("nih", tmp_path / "c", "--positive-class", "Pneumonia")
    # The training images of one preparation, without the copies, are the dataset of another.
    listed = rows(tmp_path / "rsna" / "prepared" / "images.csv")
    shutil.copytree(tmp_path / "a", tmp_path / "d" / "a")
    own = [row for row in listed if not row["image_path"].startswith("augmented/")]
    own = [[row["image_path"].removeprefix("../../"), row["label"], row["patient"]] for row in own]
    table(tmp_path / "d" / "images.csv", "image_path,label,patient", own)
    through("csv", tmp_path / "d")
    assert capsys.readouterr().out.count("layout: ") == 4
