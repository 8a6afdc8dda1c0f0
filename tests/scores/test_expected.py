"""The widths of intervals that --check prints."""

import re

import numpy as np
import pandas as pd

from common.scores.expected import print_expected


def widths(said, row):
    line = next(line for line in said.splitlines() if line.strip().startswith(row))
    pairs = re.findall(r"\[([\d.]+), ([\d.]+)\]", line)
    return [float(high) - float(low) for low, high in pairs]


def test_more_patients_and_more_of_the_rarer_class_make_intervals_narrower(capsys):
    patients, wide = np.repeat([f"p{i}" for i in range(400)], 2), []
    for positives in (40, 160):
        truth = (np.arange(800) < positives).astype(int)[:, None]
        print_expected(pd.DataFrame({"patient": patients}), 0.2, truth, ["PNEUMONIA"])
        said = capsys.readouterr().out
        count = positives // 2
        assert f"a test split of 20%: {count // 5} with PNEUMONIA" in said
        assert f"all patients as test cases: {count} with PNEUMONIA, {400 - count} without" in said
        # A test split of four patients with pneumonia carries no interval.
        assert ("none: under 5 patients of a class" in said) == (positives == 40)
        wide.append(widths(said, "AUROC 0.8"))
    assert len(wide[0]) == 1 and wide[1][1] < wide[0][0]
    # Hanley and McNeil's standard error of an AUROC of 0.8 for 80 and 320 cases is 0.032.
    assert 0.1 < wide[1][1] < 0.14
    assert wide[1][1] < wide[1][0]


def test_of_a_mean_and_of_unknown_patients(capsys):
    cases = pd.DataFrame({"patient": [f"p{i}" for i in range(20)]})
    cases.attrs["patients_remark"] = "no ids"
    print_expected(cases, 0.15, mean=("Dice", 0.9, 0.03))
    said = capsys.readouterr().out
    assert "a test split of 15%: 3 images (patients unknown)" in said
    of_test, of_all = widths(said, "Dice 0.9, of patients that deviate by 0.03")
    # t of 19 degrees: 2.09 * 0.03 / sqrt(20) to either side.
    assert 0.02 < of_all < 0.04 < of_test
    assert len(widths(said, "a share of 0.9")) == 1
    print_expected(cases.iloc[:1], 0, mean=("Dice", 0.9, 0.03))
    assert "none: one patient" in capsys.readouterr().out
