"""What a dataset tells apart: two classes, several, or several labels at once."""

from __future__ import annotations

import numpy as np
import pytest

from common.base.errors import UserError
from common.datasets.classes import Classes

TWO, NAMED = Classes(), Classes(("NORMAL", "PNEUMONIA"))
CELLS, LABELS = Classes(("A", "B", "C")), Classes(("A", "B", "C"), exclusive=False)


@pytest.mark.parametrize(
    ("classes", "labels", "truth", "words", "strata", "activation"),
    [
        (TWO, [0, 1], [[0], [1]], ["negative", "positive"], [0, 1], "sigmoid"),
        (CELLS, [2, 0], [[0, 0, 1], [1, 0, 0]], ["C", "A"], [2, 0], "softmax"),
        (
            LABELS,
            ["A|C", "", "A"],
            [[1, 0, 1], [0, 0, 0], [1, 0, 0]],
            ["A|C", "", "A"],
            [2, 3, 0],
            "sigmoid",
        ),
        (Classes(("A",), False), ["A", ""], [[1], [0]], ["A", ""], [0, 1], "sigmoid"),
    ],
)
def test_labels_become_numbers_and_words(classes, labels, truth, words, strata, activation):
    found = classes.truth(labels)
    assert found.dtype == np.float32 and found.tolist() == truth
    assert classes.in_words(found) == words
    assert classes.strata(found).tolist() == strata
    assert (classes.outputs, classes.activation) == (len(truth[0]), activation)
    assert len(classes.columns("probability")) == classes.outputs
    assert Classes.described(classes.description) == classes
    if not classes.are_two:
        assert classes.of_words(words).tolist() == truth


def test_what_names_no_classes_has_the_two_of_before():
    assert Classes.described({"key": "k"}) == TWO and TWO.columns("label") == ["label"]


@pytest.mark.parametrize(
    ("names", "exclusive", "part"),
    [
        (["A"], True, "nothing to tell apart"),
        ([], False, "nothing to tell apart"),
        (["A", "a"], True, "one name"),
        (["A", ""], True, "one name"),
        (["A|B", "C"], True, "parts labels"),
    ],
)
def test_names_that_nothing_could_tell_apart_are_refused(names, exclusive, part):
    with pytest.raises(UserError, match=part):
        Classes(tuple(names), exclusive)


@pytest.mark.parametrize(
    ("classes", "other", "truth", "expected"),
    [
        (CELLS, Classes(("C", "a", "B")), [[1, 0, 0]], [[0, 0, 1]]),
        (LABELS, Classes(("B", "C", "A"), False), [[1, 1, 0]], [[0, 1, 1]]),
        (NAMED, Classes(("pneumonia", "normal")), [[1], [0]], [[0], [1]]),
        (NAMED, TWO, [[1], [0]], [[1], [0]]),
        (TWO, NAMED, [[1], [0]], [[1], [0]]),
        (CELLS, LABELS, [[1, 0, 0]], None),
        (CELLS, Classes(("A", "B", "D")), [[1, 0, 0]], None),
        (NAMED, Classes(("benign", "malignant")), [[1]], None),
        (TWO, CELLS, [[1, 0, 0]], None),
    ],
)
def test_the_same_names_in_another_order_are_mapped_and_others_refused(
    classes, other, truth, expected
):
    if expected is None:
        with pytest.raises(UserError) as error:
            classes.reordered(np.array(truth), other, "films", "the run")
        assert str(error.value).startswith(f"films: has the {other}, and the run")
        assert str(classes) in str(error.value)
    else:
        found = classes.reordered(np.array(truth), other, "films", "the run")
        assert found.tolist() == expected
