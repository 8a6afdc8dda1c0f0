"""A split whose validation and test are half patients at random, half shifted ones: --split-by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.processes import each
from common.base.settings import BY_SHORTCUT, SharedPrepare
from common.datasets.csv_tables import list_columns
from common.datasets.patient_splits import patient_groups, rare_values, split_in_parts
from common.imaging.acquisition import as_table
from common.records.outcomes import ACQUISITION, Case, try_cases

# From this number of headers on, half a millisecond each, processes share the work.
_POOL_FROM = 5000


def split_by(
    usable: pd.DataFrame,
    strata: pd.Series[str],
    settings: SharedPrepare,
    source: Path,
    truth: Sequence[str],
    tails: Callable[[pd.DataFrame, pd.DataFrame, float], pd.Series[str]] | None,
) -> pd.DataFrame:
    """Split cases by ``split_by``, and say how many are shifted.

    Args:
        usable: The usable cases.
        strata: What keeps its share, by case.
        settings: With ``split_by``, the shares and the seed.
        source: The dataset's folder.
        truth: The columns that hold a case's label.
        tails: For ``shortcut``: from statistics by case, the cases and a share of the patients to
            the tail that each case is in, or "" (`common.scores.shortcuts.tails`).

    Returns:
        ``split`` and ``part``, as `common.datasets.patient_splits.split_in_parts` gives them.

    Raises:
        UserError: Nothing can be split by it.
    """
    by, shares = settings.split_by, (settings.validation_share, settings.test_share)
    groups, half = patient_groups(usable), sum(shares) / 2
    if by == BY_SHORTCUT:
        if tails is None:
            raise UserError("--split-by shortcut: needs films with a label; name a column")
        decode = partial(_statistics, source=source)
        rows: list[Any] = usable[["case", "path"]].to_dict("records")
        _, _, features = try_cases(decode, rows, settings.workers, (ACQUISITION,))
        texts = {case: kept.get(ACQUISITION, "") for case, kept in features.items()}
        shifted = tails(as_table(texts.items()), usable.assign(patient=groups), half)
        titles = dict.fromkeys(name.rpartition(" ")[0] for name in sorted(set(shifted) - {""}))
        what = f"most like the other label in {', '.join(titles)}"
    else:
        values = _values(usable, by, source, truth, settings.workers)
        rare = rare_values(values, groups, half)
        shifted = (by + strata).where(rare, "")
        known = values[values != ""].nunique()
        what = f"{values[rare].nunique()} of {known} values of {by}, which do not train"
    print(f"\n  shifted: {(shifted != '').sum()} of {len(usable)} cases, {what}", flush=True)
    return split_in_parts(groups, strata, shifted, *shares, settings.seed)


def _values(
    usable: pd.DataFrame, name: str, source: Path, truth: Sequence[str], workers: int
) -> pd.Series[str]:
    """A column of the cases, or an element of their DICOM files, as text; "" where it is absent."""
    # pydicom takes a while to import.
    from common.imaging.film_origin import is_keyword

    if name in usable:
        values = usable[name].astype(object).where(usable[name].notna(), "").astype(str)
    elif "mask_path" not in usable and is_keyword(name):
        read = partial(_element, keyword=name)
        files = [source / path for path in usable["path"]]
        elements = each(read, files, _POOL_FROM, workers, desc=name, unit="file")
        values = pd.Series(elements, usable.index, dtype=str)
    else:
        columns = list_columns([str(column) for column in usable])
        raise UserError(
            f"--split-by {name}: is none of patient, shortcut, a keyword of DICOM, or a column "
            f"of the cases: {columns}"
        )
    count, patients = values[values != ""].nunique(), usable["patient"].nunique()
    if name in truth:
        raise UserError(f"--split-by {name}: is what is to be learned; name another column")
    if not 2 <= count <= patients / 2:
        raise UserError(
            f"--split-by {name}: has {count} values for {patients} patients; name what has two at "
            "least, each of several patients"
        )
    return values


def _element(path: Path, keyword: str) -> str:
    from common.imaging.film_origin import read_element

    try:
        return read_element(path, keyword)
    except UserError:  # its pixels are refused too, where they are decoded
        return ""


def _statistics(case: Case, source: Path) -> Mapping[str, str]:
    from common.records.stored_images import film_statistics

    return film_statistics(source / case["path"])
