"""The covering array of project, network, preset, precision, XLA and devices."""

import dataclasses
import itertools
import json
import subprocess
import sys

import pytest

from common.base.files import ROOT
from common.base.film_settings import BACKBONES
from tools.guard import BEGIN, CELLS, END, NETWORKS, PAGE, Cell

VALUES = {
    "project": {"pneumonia_classification", "heart_detection", "atrium_segmentation"},
    "network": {*BACKBONES, "unet", "fcn8", "residual_unet", "unet3d"},
    "preset": {"demo", "cpu", "gpu"},
    "precision": {"float32", "onednn_bfloat16", "mixed_bfloat16", "mixed_float16"},
    "xla": {"on", "off"},
    "devices": {1, 2},
}

FEW = (
    Cell("pneumonia_classification", "resnet50", "demo"),
    Cell("heart_detection", "mobilenetv3large", "demo"),
    Cell("atrium_segmentation", "unet", "demo"),
    Cell("atrium_segmentation", "residual_unet", "cpu"),
    Cell("atrium_segmentation", "unet", "demo", devices=2),
    Cell("atrium_segmentation", "residual_unet", "cpu", "mixed_bfloat16", devices=2),
)
"""Cells that take two minutes together."""

RUN = """
import json, sys
from pathlib import Path
from tools import guard
guard.two_logical_devices()
from common.records.prepared import open_prepared
prepared = {name: open_prepared(Path(path), name) for name, path in json.loads(sys.argv[1]).items()}
cells = [guard.Cell(**cell) for cell in json.loads(sys.argv[2])]
outcomes, wrong = guard.run_cells(cells, prepared)
sys.exit(f"too far from their references: {wrong}" if wrong else 0)
"""


def test_any_two_values_meet():
    # What TensorFlow refuses cannot: XLA on several devices (tests/training/test_fitting.py); and a
    # network meets the projects that have it.
    cannot = {("on", 2)} | {
        (project, network)
        for project, network in itertools.product(VALUES["project"], VALUES["network"])
        if network not in NETWORKS[project]
    }
    for first, second in itertools.combinations(VALUES, 2):
        pairs = {(getattr(cell, first), getattr(cell, second)) for cell in CELLS}
        wanted = set(itertools.product(VALUES[first], VALUES[second])) - cannot
        assert pairs == wanted, (first, second)
    assert len(set(CELLS)) == len(CELLS) and set(FEW) <= set(CELLS)


def test_the_networks_are_all_that_there_are():
    from atrium_segmentation import networks

    assert set(NETWORKS["atrium_segmentation"]) == set(networks.NETWORKS)


def test_every_cell_stands_in_the_table():
    rows = PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines()
    table = {tuple(row.strip("| ").split(" | "))[:6] for row in rows if row.startswith("| ")}
    for cell in CELLS:
        assert tuple(str(value) for value in dataclasses.astuple(cell)) in table


@pytest.mark.slow
def test_a_few_cells(whole):
    prepared = {name: str(whole(name).prepared) for name in VALUES["project"]}
    cells = [dataclasses.asdict(cell) for cell in FEW]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(prepared), json.dumps(cells)],
        capture_output=True, text=True, timeout=1500, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
