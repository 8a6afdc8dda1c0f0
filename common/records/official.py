"""The split that a dataset comes with: the folders train, val and test, or NIH's lists."""

from __future__ import annotations

import pandas as pd

from common.base.settings import SharedPrepare
from common.datasets.class_folders import OFFICIAL
from common.datasets.classes import Classes
from common.datasets.splits import TEST, TRAIN, VALIDATION


def official_split(
    cases: pd.DataFrame, strata: pd.Series[str], settings: SharedPrepare
) -> pd.Series[str]:
    """The dataset's own split, and what it does not name dealt from its training, by patient.

    With ``--folds`` all but its test split is dealt into folds.

    Returns:
        (cases,) the split, "" of a case that the dataset's own does not name.
    """
    # scikit-learn takes a second to import, and decoding processes import this module.
    from common.datasets.patient_splits import patient_groups, split_by_patient

    splits = cases[OFFICIAL].copy()
    names = set(splits)
    dealt = splits.isin((TRAIN, VALIDATION) if settings.folds else (TRAIN,))
    validation = 0.0 if VALIDATION in names else settings.validation_share
    test = 0.0 if TEST in names else settings.test_share
    if dealt.any() and (validation or test or settings.folds):
        rest = cases[dealt].copy()
        if "duplicate_of" in rest:
            among = rest["duplicate_of"].isin(rest["case"])
            rest["duplicate_of"] = rest["duplicate_of"].where(among, "")
        groups = patient_groups(rest) if "duplicate_of" in rest else rest["patient"]
        splits[dealt] = split_by_patient(
            groups, strata[dealt], validation, test, settings.folds, settings.seed
        )
    counts = {name: int((cases[OFFICIAL] == name).sum()) for name in (TRAIN, VALIDATION, TEST)}
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print(f"\nsplit: the dataset's own ({text}); --own-split deals another", flush=True)
    return splits


def absent_classes(cases: pd.DataFrame) -> dict[str, list[str]]:
    """The classes that a split lacks and another one has, by the split that lacks them.

    Args:
        cases: The usable cases, with ``label`` and ``split``; ``.attrs`` names the classes.

    Returns:
        Nothing of cases without classes, such as volumes.
    """
    splits = sorted({*cases["split"]} - {""})
    if "label" not in cases or "classes" not in cases.attrs or len(splits) < 2:
        return {}
    classes = Classes.described(cases.attrs)
    truth = classes.truth(cases["label"])
    there = pd.DataFrame(truth > 0, cases.index, classes.names[-truth.shape[1] :])
    if classes.are_two:
        there.insert(0, classes.names[0], truth[:, 0] == 0)
    by_split = there.groupby(cases["split"]).any().loc[splits]
    known = by_split.loc[:, by_split.any()]
    lacking = {str(split): [*row.index[~row]] for split, row in known.iterrows()}
    return {split: names for split, names in lacking.items() if names}
