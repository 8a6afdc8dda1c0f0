"""The rows that tables show of main scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scores.formatting import (
    main_score,
    score_rows,
    significant,
    strongest,
    with_interval,
)

NONE = {"value": None, "ci95": None}
HALF = {"value": 0.5, "ci95": [0.25, 0.75]}
REFUSED = {"value": 0.5, "ci95": None, "ci95_reason": "one patient"}


@pytest.mark.parametrize(
    ("entry", "value", "baseline"),
    [
        (main_score("a", HALF, HALF, "chance"), "0.500 [0.250, 0.750]",
         "0.500 [0.250, 0.750] (chance)"),
        (main_score("a", HALF, HALF, "chance", n_of=(4, 8)), "4 of 8, 50 % [25, 75]",
         "4 of 8, 50 % [25, 75] (chance)"),
        (main_score("a", HALF, {"value": 0.377, "ci95": None}, "view", statistic="auroc"),
         "0.500 [0.250, 0.750]",
         "0.377 (view), below chance: it ranks more pairs wrongly than rightly"),
        (main_score("a", HALF, {"value": 0.377, "ci95": None}, "view", statistic="mean"),
         "0.500 [0.250, 0.750]", "0.377 (view)"),
        (main_score("a", NONE, NONE, "chance"), "-", "- (chance)"),
        (main_score("a", HALF, NONE, None), "0.500 [0.250, 0.750]", "-"),
        (main_score("a", HALF, NONE, None, n_of=(4, 8)), "4 of 8, 50 % [25, 75]", "-"),
        (main_score("a", REFUSED, REFUSED, "chance"), "0.500 [none: one patient]",
         "0.500 [none: one patient] (chance)"),
        (main_score("a", REFUSED, REFUSED, None, n_of=(1, 2)),
         *["1 of 2, 50 % [none: one patient]"] * 2),
    ],
)  # fmt: skip
def test_a_score_with_and_without_what_it_may_lack(entry, value, baseline):
    assert score_rows({"main_scores": [entry]}) == [("a", value, baseline)]


def test_the_strongest_baseline_is_the_first_of_the_highest():
    assert strongest({"a": NONE, "b": HALF, "c": dict(HALF)}) == (HALF, "b")
    assert strongest({"a": HALF, "b": {**HALF, "value": 0.7}})[1] == "b"
    assert strongest({"a": NONE}) == (NONE, "a")


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        ({"value": 0.9124, "ci95": [0.874, 0.9436]}, "0.912 [0.874, 0.944]"),
        ({"value": 0.9124, "ci95": None}, "0.912"),
        ({"value": 0.0}, "0.000"),
        ({"value": None, "ci95": None}, "-"),
        (None, "-"),
    ],
)
def test_a_score_with_its_interval(score, shown):
    assert with_interval(score) == shown


@given(st.floats(0, 1, width=32))
def test_what_is_written_is_the_number_of_32_bits(value):
    assert np.float32(significant(value)) == np.float32(value)
    assert len(f"{significant(value)}".replace("0.", "").split("e")[0].lstrip("0")) <= 10


def test_what_is_no_number_stays():
    assert [significant(value) for value in ("a", 3, None)] == ["a", 3, None]
    assert np.isnan(significant(float("nan")))
