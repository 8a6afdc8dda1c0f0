"""What prepare_data.py tells of its cases: a table, and the splits, duplicates and saved space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from common.base.settings import SharedPrepare
from common.datasets.cohort import on_two_sides
from common.datasets.duplicates import on_other_sides
from common.datasets.patients import BY_IMAGE, OVER_IMAGES
from common.datasets.splits import TEST, VALIDATION, is_copies
from common.imaging.image_files import as_text
from common.records.rows import write_table
from common.records.shards import Shards


def print_splits(cases: pd.DataFrame, groups: Mapping[str, str], settings: SharedPrepare) -> None:
    """Print the splits as a table, the cases that were left out, and the leak that was avoided.

    Args:
        cases: All cases, with ``split`` and ``left_out``.
        groups: A further column's title to the pandas query of its cases.
        settings: The settings of prepare_data.py.
    """
    usable = cases[cases["left_out"] == ""]
    known = not cases.attrs.get("patients_remark")
    names = (usable["split"] + " " + usable.get("part", "")).str.strip()
    width = max(12, names.str.len().max() + 2)
    print(
        f"\n  {'split':<{width}}{'cases':>8}{'patients':>10}" + "".join(f"{g:>12}" for g in groups)
    )
    for split, part in usable.groupby(names, sort=bool(names.ne(usable["split"]).any())):
        counts = "".join(f"{len(part.query(query)):>12}" for query in groups.values())
        patients = part["patient"].nunique() if known else "unknown"
        print(f"  {split:<{width}}{len(part):>8}{patients:>10}{counts}")
    reasons = cases.loc[cases["left_out"] != "", "left_out"].value_counts()
    for reason, count in list(reasons.items())[:10]:
        print(f"  left out: {count} ({reason})")
    splits = set(usable["split"])
    if TEST not in splits:
        print("  There are no test cases: give evaluate.py --split validation, or a --source")
    has_groups = usable["patient"].nunique() < len(usable)
    if known and has_groups and len(splits) > 1 and not on_two_sides(usable):
        # scikit-learn takes a second to import, and decoding processes import this module.
        from common.datasets.patient_splits import image_split_leak

        side = TEST if TEST in splits else VALIDATION
        shares = usable["split"].value_counts(normalize=True)
        # Each fold validates once.
        share = shares[side] if side in shares else shares.mean()
        leak = image_split_leak(usable["patient"], share, settings.seed)
        print(
            f"  No patient is on two sides. A split by image would have put the patient of "
            f"{leak:.0%} of the {side} images into training."
        )


def print_duplicates(cases: pd.DataFrame, truth: str, columns: Sequence[str]) -> None:
    """Print the number of films that equal another, and whether patients and labels differ.

    Args:
        cases: All cases, with ``duplicate_of`` and ``split``.
        truth: What a label is, in a word.
        columns: The columns of the label.
    """
    films = cases[cases["duplicate_of"] != ""]
    if films.empty:
        return
    originals = cases.set_index("case").loc[films["duplicate_of"]]
    across = films["patient"].to_numpy() != originals["patient"].to_numpy()
    apart = on_other_sides(cases)
    differ = (films[columns].to_numpy() != originals[columns].to_numpy()).any(axis=1)
    summary = "1 film equals another" if len(films) == 1 else f"{len(films)} films equal another"
    if across.any():
        summary += f", {across.sum()} across patients{'' if apart.any() else ' (dealt together)'}"
    if apart.any():
        summary += f", {apart.sum()} IN ANOTHER SPLIT than the film that it equals"
    if differ.any():
        summary += f", {differ.sum()} with another {truth}"
    print(f"  exact duplicates: {summary}; duplicate_of in cases.csv names them")


def split_warning(cases: pd.DataFrame, all_test: bool) -> str:
    """Why scores on these splits may be too good, in words; "" where nothing says so."""
    warnings = []
    if remark := cases.attrs.get("patients_remark"):
        meaning = OVER_IMAGES if all_test else cases.attrs.get("patients_meaning", BY_IMAGE)
        warnings.append(f"patients unknown ({remark}): {meaning}")
    if count := len(on_two_sides(cases[cases["left_out"] == ""])):
        warnings.append(f"{count} patients are on two sides: scores on them are too good")
    if "duplicate_of" in cases and (count := int(on_other_sides(cases).sum())):
        warnings.append(f"{count} images equal one on another side: scores on them are too good")
    return "; ".join(warnings)


def print_disk(source_bytes: int, shards: Shards) -> dict[str, Any]:
    """Print the disk space that the records save against their source files.

    Args:
        source_bytes: The bytes of the files of the cases in the records.
        shards: The shards by split; those of augmented copies do not count, since no source file
            belongs to them.

    Returns:
        ``source_bytes``, ``record_bytes`` and ``saved``, a share.
    """
    counted = chain.from_iterable(s for split, s in shards.items() if not is_copies(split))
    records_bytes = sum(shard["bytes"] for shard in counted)
    saved = 1 - records_bytes / source_bytes
    print(
        f"  disk: {source_bytes / 1e6:.1f} MB of source files, {records_bytes / 1e6:.1f} MB of "
        f"TFRecords: {abs(saved):.0%} {'saved' if saved >= 0 else 'more'}"
    )
    return {"source_bytes": source_bytes, "record_bytes": records_bytes, "saved": saved}


def write_cases(folder: Path, cases: pd.DataFrame) -> None:
    """Write ``cases.csv``: every case, also those that were left out, with the reason."""
    paths = {name: cases[name].map(as_text) for name in ("path", "mask_path") if name in cases}
    write_table(folder / "cases.csv", cases.assign(**paths))
