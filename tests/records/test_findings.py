"""What the check of a dataset writes of tables that were repaired and of libraries that warned."""

import csv
import warnings

import pandas as pd

from common.base.settings import SharedPrepare
from common.datasets.repairs import TABLE, Repair
from common.records.findings import DatasetCheck

CASES = pd.DataFrame(
    {"case": ["a", "b", "c"], "path": "", "patient": ["p", "q", "r"], "duplicate_of": "",
     "left_out": "", "label": [1, 1, 1], "rows": 4, "columns": 4}
)  # fmt: skip


def decode(case):
    """A case that a library warns of, with a value that is nobody's business."""
    if case["case"] != "c":
        warnings.warn_explicit(
            f"Invalid value for VR UI: '{case['case']}'", UserWarning, "/site-packages/pydicom/x", 1
        )
    return {"image": b""}


def test_repairs_warnings_and_one_class_are_findings_and_counted(tmp_path, capfd):
    settings = SharedPrepare(check=True, workers=1)
    repairs = [Repair("labels.csv", TABLE, "blank rows: 2")]
    check = DatasetCheck(tmp_path, tmp_path, settings, repairs=repairs)
    check.check_table(CASES, pd.Series("", CASES.index), ["label"])
    check.decode(CASES.to_dict("records"), decode, 9)
    check.report(CASES)
    with open(tmp_path / "findings.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["where", "check", "found", "action"],
            ["", "library warning", "pydicom: Invalid value for VR UI, in 2 cases", "kept"],
            ["", "one class", "all 3 labels are 1: a network learns nothing from one class, and "
             "scores of it mean nothing", "kept"],
            ["labels.csv", "repaired table", "blank rows: 2", "repaired"],
        ]  # fmt: skip
    printed = capfd.readouterr()
    assert "ONE CLASS: all 3 labels are 1" in printed.out
    assert printed.err == "" and "Invalid value" not in printed.out
