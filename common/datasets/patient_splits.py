"""A table of cases to train, validation and test, by patient.

Patients are dealt as a whole, so that none stands on two sides, and stratified, so that labels and
views keep their shares. scikit-learn deals them.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedKFold, train_test_split

from common.base.errors import UserError
from common.datasets.splits import RANDOM, SHIFTED, TEST, TRAIN, VALIDATION, fold_name


def split_by_patient(
    patients: pd.Series,
    strata: pd.Series,
    validation_share: float,
    test_share: float,
    folds: int,
    seed: int,
) -> pd.Series:
    """Deal patients into splits.

    Args:
        patients: The patient of every case, (cases,).
        strata: What keeps its share on every side, (cases,): a label, or a label and a view.
            A patient with several takes the greatest.
        validation_share: Share of the patients, 0 to 1.
        test_share: Share of the patients, 0 to 1.
        folds: 0 for one training and one validation split; else the number of folds that the
            patients outside the test split are dealt into.
        seed: The same seed and table give the same splits, whatever the order of the rows.

    Returns:
        (cases,) of ``train``, ``validation`` and ``test``, or of ``fold-0`` ... and ``test``.

    Raises:
        UserError: There are fewer patients than sides to put them on.
    """
    table = _greatest(strata.astype(str), patients)
    sides = (test_share > 0) + (folds or 1 + (validation_share > 0))
    if len(table) < sides:
        raise UserError(
            f"{len(table)} patients cannot fill {sides} splits: give more data, "
            "fewer --folds, or a share of 0"
        )
    split = pd.Series(TRAIN, index=table.index)
    rest, test = _two_sides(table, test_share, sides - 1, seed)
    split[test.index] = TEST
    if folds:
        dealer = StratifiedKFold(folds, shuffle=True, random_state=seed)
        for fold, (_, members) in enumerate(dealer.split(rest.index, _join_rare(rest, folds))):
            split[rest.index[members]] = fold_name(fold)
    else:
        _, validation = _two_sides(
            rest, min(1.0, validation_share * len(table) / len(rest)), 1, seed + 1
        )
        split[validation.index] = VALIDATION
    return patients.map(split)


def split_in_parts(
    patients: pd.Series,
    strata: pd.Series,
    shifted: pd.Series,
    validation_share: float,
    test_share: float,
    seed: int,
) -> pd.DataFrame:
    """Deal patients into splits, those that are shifted into validation and test alone.

    To half of either share patients at random are dealt, and to these the shifted ones, in the
    ratio of the shares. Where so many are shifted that half is more than the share of the others,
    that share is dealt, so that patients remain to train.

    Args:
        patients: As for `split_by_patient`, like ``strata``, the shares and ``seed``.
        strata: Of the patients at random.
        shifted: (cases,) the stratum of a case that is shifted, "" of another.
        validation_share: 0 to 1.
        test_share: 0 to 1; both together above 0.
        seed: Of both dealings.

    Returns:
        (cases,) ``split`` and, in validation and test, ``part``: shifted or random; "" of a case
        that is neither but is of a patient with a shifted one.
    """
    held_out = validation_share + test_share
    table = _greatest(shifted, patients)
    of_shifted = table[table != ""]
    leave = int(validation_share > 0)
    _, test = _two_sides(of_shifted, test_share / held_out, leave, seed)
    others = ~patients.isin(of_shifted.index)
    scale = min(1.0, len(table) / max(1, len(table) - len(of_shifted)) / 2)
    shares = validation_share * scale, test_share * scale
    split = split_by_patient(patients[others], strata[others], *shares, 0, seed)
    split = split.reindex(patients.index, fill_value=VALIDATION)
    split[patients.isin(test.index)] = TEST
    part = shifted.where(shifted == "", SHIFTED)
    part[others & (split != TRAIN)] = RANDOM
    return pd.DataFrame({"split": split, "part": part})


def _greatest(texts: pd.Series, patients: pd.Series) -> pd.Series:
    """The greatest of the cases' texts (cases,) by patient, in the order of these."""
    # As of a table that is grouped by patient, which asks Python once for each.
    by_case = pd.DataFrame({"patient": patients.to_numpy(), "text": texts.to_numpy()})
    ordered = by_case.sort_values(["patient", "text"]).drop_duplicates("patient", keep="last")
    return ordered.set_index("patient")["text"]


def rare_values(values: pd.Series, patients: pd.Series, share: float) -> pd.Series:
    """The values, whole, that are taken so that their patients reach a share.

    The rarest come first, and the commonest is never taken.

    Args:
        values: (cases,) texts; "" is no value and never taken.
        patients: (cases,) the patient of every case.
        share: Of the patients, 0 to 1.

    Returns:
        (cases,) whether a case has one of them.
    """
    by_value = patients[values != ""].groupby(values).agg(set)
    order = sorted(by_value.index, key=lambda value: (len(by_value[value]), value))
    taken, members = [], set[str]()
    for value in order[:-1]:
        if len(members) >= share * patients.nunique():
            break
        taken.append(value)
        members |= by_value[value]
    return values.isin(taken)


def patient_groups(cases: pd.DataFrame) -> pd.Series:
    """Group the patients who share a film, directly or through others.

    Args:
        cases: With ``case``, ``patient``, and ``duplicate_of``, "" or one of the cases.

    Returns:
        (cases,) the first patient, by sorted name, of the group that the case's patient is in.
    """
    patient_of_case, patients = pd.factorize(cases["patient"], sort=True)
    numbers = pd.Series(patient_of_case, cases["case"].to_numpy())
    linked = cases[cases["duplicate_of"] != ""]
    ends = (numbers[linked["case"]].to_numpy(), numbers[linked["duplicate_of"]].to_numpy())
    links = coo_array((np.ones(len(linked), bool), ends), shape=(len(patients), len(patients)))
    _, group = connected_components(links, directed=False)
    _, first = np.unique(group, return_index=True)
    return pd.Series(patients[first[group]][patient_of_case], cases.index)


def image_split_leak(patients: pd.Series, test_share: float, seed: int) -> float:
    """The leak that a split by image would have.

    Returns:
        Share, 0 to 1, of the images of a random ``test_share`` of all images whose patient also
        has an image outside it.
    """
    count = round(len(patients) * test_share)
    if count == 0:
        return 0.0
    test = np.zeros(len(patients), bool)
    test[np.random.default_rng(seed).permutation(len(patients))[:count]] = True
    return float(patients[test].isin(patients[~test]).mean())


def _two_sides(
    table: pd.Series, share: float, leave: int, seed: int
) -> tuple[pd.Series, pd.Series]:
    """Deal a share above 0 of the patients, at least one, to a side: (the rest, the side).

    At least ``leave`` patients stay in the rest. ``table`` holds the stratum of every patient.
    """
    count = max(1, round(len(table) * share)) if share > 0 else 0
    count = max(0, min(count, len(table) - leave))
    if count in (0, len(table)):
        rest = len(table) - count
        return table.iloc[:rest], table.iloc[rest:]
    strata = _join_rare(table, 2)
    enough = min(count, len(table) - count) >= strata.nunique()
    rest, side = train_test_split(
        table, test_size=count, random_state=seed, stratify=strata if enough else None
    )
    return rest, side


def _join_rare(table: pd.Series, sides: int) -> pd.Series:
    """A stratum with fewer patients than sides cannot be stratified: it joins the commonest."""
    counts = Counter(table)
    commonest = max(sorted(counts), key=counts.__getitem__)
    return table.where(table.map(counts) >= sides, commonest)
