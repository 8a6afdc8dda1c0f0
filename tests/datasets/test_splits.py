"""Patients dealt into splits."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.base.errors import UserError
from common.datasets.patient_splits import image_split_leak, split_by_patient
from common.datasets.splits import splits_by_role, training_splits


@st.composite
def tables(draw):
    """Cases of 10 to 40 patients with one to three images, and strata of any rarity."""
    patients = draw(st.integers(10, 40))
    images = draw(st.lists(st.integers(1, 3), min_size=patients, max_size=patients))
    owners = [f"p{number}" for number, count in enumerate(images) for _ in range(count)]
    strata = draw(st.lists(st.sampled_from("aaabbc"), min_size=len(owners), max_size=len(owners)))
    return pd.DataFrame({"patient": owners, "stratum": strata})


SHARES = st.sampled_from([0.0, 0.1, 0.15, 0.25, 0.3])
SEEDS = st.integers(0, 9)
few = settings(max_examples=40, deadline=None)


def deal(table, validation=0.15, test=0.15, folds=0, seed=0):
    return split_by_patient(table["patient"], table["stratum"], validation, test, folds, seed)


def sides(table, split):
    """Patients by split."""
    return table["patient"].groupby(split.to_numpy()).agg(set).to_dict()


@few
@given(tables(), SHARES, SHARES, SEEDS)
def test_every_case_has_a_split_and_no_patient_two(table, validation, test, seed):
    split = deal(table, validation, test, seed=seed)
    assert split.notna().all()
    assert set(split) <= {"train", "validation", "test"}
    assert split.groupby(table["patient"]).nunique().eq(1).all()


@few
@given(tables(), SHARES, SHARES, SEEDS)
def test_shares_are_those_asked_for_within_a_patient(table, validation, test, seed):
    members = sides(table, deal(table, validation, test, seed=seed))
    patients = table["patient"].nunique()
    for name, share in (("validation", validation), ("test", test)):
        assert abs(len(members.get(name, ())) - share * patients) <= 1
        assert (name in members) == (share > 0)


@few
@given(tables(), SEEDS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_index_matters(table, seed, shuffler):
    order = list(range(len(table)))
    shuffler.shuffle(order)
    shuffled = table.iloc[order]
    again = deal(shuffled, seed=seed)
    assert (again.index == shuffled.index).all()
    pd.testing.assert_series_equal(deal(table, seed=seed), again.sort_index(), check_names=False)


def test_the_same_seed_gives_the_same_splits_and_another_others():
    table = pd.DataFrame({"patient": range(60), "stratum": ["a", "b"] * 30})
    assert deal(table, seed=3).equals(deal(table, seed=3))
    assert not deal(table, seed=3).equals(deal(table, seed=4))


@few
@given(tables(), st.integers(2, 5), SHARES, SEEDS)
def test_folds_share_out_all_patients_but_those_that_test(table, folds, test, seed):
    splits = sides(table, deal(table, 0.15, test, folds, seed))
    assert set(splits) - {"test"} == {f"fold-{fold}" for fold in range(folds)}
    assert ("test" in splits) == (test > 0)
    together = [patient for members in splits.values() for patient in members]
    assert sorted(together) == sorted(set(table["patient"]))
    sizes = [len(members) for name, members in splits.items() if name != "test"]
    assert max(sizes) - min(sizes) <= table["stratum"].nunique()


@pytest.mark.parametrize("folds", [0, 5])
def test_strata_keep_their_shares(folds):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(900), rng.integers(1, 4, 900))
    drawn = rng.choice(["AP 1", "PA 0", "PA 1"], 900, p=[0.25, 0.7, 0.05])
    table = pd.DataFrame({"patient": patients, "stratum": drawn[patients]})
    one_each = table.assign(split=deal(table, 0.15, 0.15, folds)).drop_duplicates("patient")
    overall = one_each["stratum"].value_counts(normalize=True)
    for _, part in one_each.groupby("split"):
        shares = part["stratum"].value_counts(normalize=True)
        assert (shares - overall).abs().max() < 0.01


def test_a_patient_with_several_strata_counts_as_the_greatest():
    # Every patient has a 0 and half of them a 1 too: of ten that test, five must have one.
    table = pd.DataFrame({"patient": list(range(40)) + list(range(20))})
    table["stratum"] = [0] * 40 + [1] * 20
    members = sides(table, deal(table, 0.25, 0.25))
    assert sum(patient < 20 for patient in members["test"]) == 5
    assert sum(patient < 20 for patient in members["validation"]) == 5


@pytest.mark.parametrize(
    ("patients", "validation", "test", "folds"),
    [(2, 0.2, 0.2, 0), (1, 0.2, 0, 0), (4, 0.2, 0.2, 4), (0, 0, 0, 0)],
)
def test_too_few_patients(patients, validation, test, folds):
    table = pd.DataFrame({"patient": range(patients), "stratum": ["a"] * patients})
    with pytest.raises(UserError, match=f"^{patients} patients cannot fill . splits"):
        deal(table, validation, test, folds)


@pytest.mark.parametrize(
    ("patients", "validation", "test", "folds"),
    [(3, 0.9, 0.05, 0), (3, 0.05, 0.9, 0), (2, 0, 0.9, 0), (1, 0, 0, 0), (5, 0.2, 0.7, 4)],
)
def test_just_enough_patients_fill_every_side(patients, validation, test, folds):
    table = pd.DataFrame({"patient": range(patients), "stratum": list("abcde")[:patients]})
    filled = set(sides(table, deal(table, validation, test, folds)))
    wanted = {f"fold-{fold}" for fold in range(folds)} if folds else {"train"}
    wanted |= {"test"} if test else set()
    wanted |= {"validation"} if validation and not folds else set()
    assert filled == wanted


def test_leak_of_an_image_split_is_what_counting_all_of_them_gives():
    patients = pd.Series(list("aaabbc"), index=range(10, 16))
    every = []
    for test in itertools.combinations(range(6), 3):
        rest = {patients.iloc[i] for i in range(6) if i not in test}
        every.append(np.mean([patients.iloc[i] in rest for i in test]))
    leaks = [image_split_leak(patients, 0.5, seed) for seed in range(500)]
    assert {round(leak, 6) for leak in leaks} == {round(leak, 6) for leak in every}
    assert np.mean(leaks) == pytest.approx(np.mean(every), abs=0.04)


def test_leak_at_the_ends():
    assert image_split_leak(pd.Series(range(20)), 0.3, 0) == 0
    assert image_split_leak(pd.Series(["one"] * 20), 0.3, 0) == 1
    assert image_split_leak(pd.Series(["one"] * 20), 0.0, 0) == 0


def test_training_splits():
    assert training_splits(["train", "validation", "test"], 0) == (["train"], ["validation"])
    with_copies = ["train", "train-copies", "validation"]
    assert training_splits(with_copies, 0) == (["train"], ["validation"])
    folds = ["fold-0", "fold-1", "fold-2", "test"]
    assert training_splits(folds, 1) == (["fold-0", "fold-2"], ["fold-1"])


def test_copies_of_the_fold_that_validates_do_not_train():
    splits = ["fold-0", "fold-0-copies", "fold-1", "fold-1-copies", "fold-2", "fold-2-copies"]
    assert training_splits(splits, 1) == (["fold-0", "fold-2"], ["fold-1"])


@given(st.integers(3, 12), st.data(), st.booleans())
def test_a_nested_fold_is_in_no_part_of_its_training(count, draw, has_test):
    folds = [f"fold-{number}" for number in range(count)]
    splits = [name for fold in folds for name in (fold, f"{fold}-copies")] + ["test"] * has_test
    fold = draw.draw(st.integers(0, count - 1))
    roles = splits_by_role(splits, fold, nested=True)
    assert roles["fold"] == [f"fold-{fold}"]
    assert roles["test"] == ["test"] * has_test
    assert len(roles["validation"]) == 1
    assert sorted(roles["train"] + roles["validation"] + roles["fold"]) == sorted(folds)
    # Over all trainings each fold is left out once, and validates once.
    every = [splits_by_role(splits, number, nested=True) for number in range(count)]
    for role in ("fold", "validation"):
        assert sorted(name for each in every for name in each[role]) == sorted(folds)


@pytest.mark.parametrize(
    ("splits", "fold", "nested", "message"),
    [
        (["fold-0", "fold-0-copies", "fold-1", "test"], 2, False, "prepared in 2 folds"),
        (["fold-0", "fold-1", "test"], 1, True, "of 2 folds one is left out.*--folds 3 or more"),
        (["train", "validation"], 1, False, "--fold 1: the data was not prepared in folds"),
        (["train", "validation"], 0, True, "--nested: the data was not prepared in folds"),
        (["train", "test"], 0, False, "no validation split"),
        (["validation", "test"], 0, False, "no training split; prepare data that has one"),
    ],
)
def test_no_such_training_split(splits, fold, nested, message):
    with pytest.raises(UserError, match=message):
        training_splits(splits, fold, nested)
