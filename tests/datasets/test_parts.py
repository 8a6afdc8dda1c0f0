"""Splits whose validation and test are half patients at random, half shifted ones."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from common.datasets.patient_splits import rare_values, split_by_patient, split_in_parts

SHARES = st.sampled_from([0.0, 0.1, 0.15, 0.3])
SEEDS = st.integers(0, 9)
few = settings(max_examples=25, deadline=None)


@st.composite
def tables(draw, least=60):
    """Cases of patients with one to three images, of sites of any size; some name none."""
    patients = draw(st.integers(least, least + 40))
    images = draw(st.lists(st.integers(1, 3), min_size=patients, max_size=patients))
    owners = [f"p{number}" for number, count in enumerate(images) for _ in range(count)]
    names = st.lists(st.sampled_from("aaaaaaaabbbccdefg"), min_size=patients, max_size=patients)
    home = dict(zip(dict.fromkeys(owners), draw(names), strict=True))
    # Most patients keep to a site.
    other = st.lists(st.sampled_from(["", "", "", "", "", "b", "-"]), min_size=len(owners),
                     max_size=len(owners))  # fmt: skip
    sites = [o.strip("-") if o else home[p] for p, o in zip(owners, draw(other), strict=True)]
    label = st.lists(st.sampled_from("01"), min_size=len(owners), max_size=len(owners))
    return pd.DataFrame({"patient": owners, "site": sites, "stratum": draw(label)})


def deal(table, validation, test, seed=0):
    rare = rare_values(table["site"], table["patient"], (validation + test) / 2)
    shifted = ("s" + table["stratum"]).where(rare, "")
    dealt = split_in_parts(table["patient"], table["stratum"], shifted, validation, test, seed)
    return table.assign(rare=rare, **dealt)


@few
@given(tables(), SHARES, SHARES, SEEDS)
def test_nobody_is_on_two_sides_and_what_is_shifted_is_whole(table, validation, test, seed):
    if not validation + test:
        return
    dealt = deal(table, validation, test, seed)
    assert (dealt.groupby("patient")["split"].nunique() == 1).all()
    assert set(dealt["split"]) <= {"train", "validation", "test"}
    # A value is shifted in all of its cases, none of which trains.
    assert ((dealt["part"] == "shifted") == dealt["rare"]).all()
    assert (dealt.groupby("site")["rare"].nunique() == 1).all()
    train = dealt["split"] == "train"
    assert (dealt.loc[train, "part"] == "").all() and not dealt.loc[train, "rare"].any()
    # What comes along with a patient is in neither part; nobody is in both.
    of_shifted = dealt["patient"].isin(dealt.loc[dealt["rare"], "patient"])
    assert ((dealt["part"] == "random") == (~of_shifted & ~train)).all()


@few
@given(tables(), SHARES, SHARES, SEEDS)
def test_half_of_a_share_is_at_random_and_the_shifted_are_dealt_by_the_shares(
    table, validation, test, seed
):
    if not validation + test:
        return
    dealt = deal(table, validation, test, seed)
    patients, count = dealt.drop_duplicates("patient"), table["patient"].nunique()
    of_shifted = set(dealt.loc[dealt["rare"], "patient"])
    for name, share in (("validation", validation), ("test", test)):
        members = set(patients.loc[patients["split"] == name, "patient"])
        assert (name in set(patients["split"])) == (share > 0)
        # Of few others no more than the share, so that some remain to train.
        at_random = min(share / 2 * count, share * (count - len(of_shifted)))
        assert abs(len(members - of_shifted) - at_random) <= 1
        expected = share / (validation + test) * len(of_shifted)
        assert abs(len(members & of_shifted) - expected) <= 1


def test_many_shifted_patients_leave_some_to_train():
    # 70 of 82 patients are of a value that does not train.
    patients = pd.Series([f"p{number:02d}" for number in range(82)])
    strata = pd.Series(["0", "1"] * 41)
    shifted = pd.Series(["s"] * 70 + [""] * 12)
    dealt = split_in_parts(patients, strata, shifted, 0.3, 0.3, 0)
    counts = dealt.loc[shifted == "", "split"].value_counts()
    assert counts["train"] >= 3 and abs(counts["validation"] - 3.6) <= 1


@few
@given(tables(), st.sampled_from([0.05, 0.15, 0.4]))
def test_the_rarest_values_are_taken_until_their_patients_reach_the_share(table, share):
    by_site = table[table["site"] != ""].groupby("site")["patient"].agg(set)
    rare = rare_values(table["site"], table["patient"], share)
    taken = sorted(set(table.loc[rare, "site"]), key=lambda site: (len(by_site[site]), site))
    wanted = share * table["patient"].nunique()
    commonest = max(by_site.index, key=lambda site: (len(by_site[site]), site))
    assert commonest not in taken and "" not in taken
    assert len(set().union(*by_site[taken[:-1]])) < wanted
    reached = len(set().union(*by_site[taken]))
    assert reached >= wanted or len(taken) == len(by_site) - 1


@few
@given(tables(), SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table, seed, shuffler):
    rows = list(table.index)
    shuffler.shuffle(rows)
    one, other = deal(table, 0.15, 0.3, seed), deal(table.loc[rows], 0.15, 0.3, seed)
    pd.testing.assert_frame_equal(one, other.loc[one.index])


def test_without_shifted_cases_half_of_each_share_is_dealt():
    patients = pd.Series([f"p{number}" for number in range(100)])
    strata, none = pd.Series("a", patients.index), pd.Series("", patients.index)
    dealt = split_in_parts(patients, strata, none, 0.2, 0.4, seed=1)
    expected = split_by_patient(patients, strata, 0.1, 0.2, 0, seed=1)
    assert list(dealt["split"]) == list(expected)
    assert set(dealt["part"]) == {"", "random"}
