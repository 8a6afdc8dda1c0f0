"""The names of classes and splits as people write them: which is normal, and which is no class."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import Any

from common.base.errors import UserError
from common.datasets.csv_tables import NOTHING, list_columns, plain, whole
from common.datasets.splits import TEST, TRAIN, VALIDATION

_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
# Words that say of a name only what every dataset has.
_FILLERS = {"set", "data", "dataset", "folder", "split", "image", "images", "img", "imgs"}
_FILLERS |= {"x", "ray", "rays", "xray", "xrays", "chest", "lung", "lungs", "case", "cases"}
_NORMAL = {
    *("normal", "negative", "healthy", "control", "controls", "benign", "none", "0", "no"),
    *("absent", "uninfected", "no finding", "no findings", "no pneumonia", "not pneumonia"),
    *("false", "nofinding", "nofindings"),
}
_NO = ("no", "non", "not", "without", "un", "negative", "negativefor", "absenceof")
_NO_LABEL = NOTHING - {"none"}
_ABSENT = ("negative", "absent", "free")
# Names of folders that hold a dataset's films, masks or pictures and are no classes.
_MASKS = re.compile(
    r"([a-z ]+ )?(masks|segmentations|labelmaps|annotations)"
    r"|mask|segmentation|labelmap|annotation|segs?|gts?|ground ?truths?"
)
_PARTS = re.compile(r"stage \d .*|images?|imgs|films|docs?|figures?|screenshots?|assets")


def split_named(name: str) -> tuple[str, frozenset[str]]:
    """The split that a folder, a table or a cell is named after, "" for none, and its other words.

    ``train``, ``Train_Data``, ``testset`` and ``seg_train`` name one, the last with the word seg.
    """
    splits, others = set(), set()
    for word in _words(name):
        split = _SPLITS.get(word) or _SPLITS.get(re.sub(r"(set|data)$", "", word))
        if split:
            splits.add(split)
        elif word not in _FILLERS:
            others.add(word)
    # What NIH calls train_val is dealt into both.
    split = TRAIN if splits == {TRAIN, VALIDATION} else "".join(splits) if len(splits) == 1 else ""
    return split, frozenset(others)


def is_masks(name: str) -> bool:
    """Whether a folder is named as one of segmentation masks: masks, lung masks, mask."""
    return _MASKS.fullmatch(" ".join(_words(name))) is not None


def is_class(name: str) -> bool:
    """Whether a folder's name may be a class's: no split, no masks and no part of a dataset."""
    is_part = _PARTS.fullmatch(" ".join(_words(name))) is not None
    return not (is_part or is_masks(name) or split_named(name)[0])


def _words(name: str) -> list[str]:
    """The words and numbers of a name, in small letters; TrainData are two."""
    parts = re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+", name)
    return [part.casefold() for part in parts]


def same_letters(names: Iterable[str]) -> dict[str, str]:
    """Each name as its commonest spelling in upper and lower case: Normal and NORMAL are one."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        spellings[name.casefold()][name] += 1
    commonest = {key: max(sorted(c), key=c.__getitem__) for key, c in spellings.items()}
    return {name: commonest[key] for key, counts in spellings.items() for name in counts}


def numbered_classes(names: Collection[str], positive: str = "") -> list[str]:
    """The classes in the order of their numbers: sorted, a normal one first.

    Args:
        names: The classes.
        positive: Of two classes the one with number 1, in any case of letters; "" for the one
            that is not called normal, else the second by name.

    Raises:
        UserError: ``positive`` is none of two classes.
    """
    # Classes that are numbers are sorted as such.
    numbers = {name: float(name) for name in names if re.fullmatch(r"[+-]?\d+(\.\d+)?", name)}
    ordered = sorted(names, key=lambda name: (name not in numbers, numbers.get(name, 0.0), name))
    ordered.sort(key=lambda name: not is_normal(name, names))
    if positive and len(ordered) > 1:
        chosen = [name for name in ordered if name.casefold() == positive.casefold()]
        if len(ordered) != 2 or not chosen:
            raise UserError(
                f"--positive-class {positive}: expected one of two classes; "
                f"found {list_columns(ordered)}"
            )
        ordered.sort(key=lambda name: name in chosen)
    return ordered


def is_normal(name: str, names: Collection[str] = ()) -> bool:
    """Whether a class is called by a word for normal, or as one of others with a no.

    Normal cases, 0_healthy; non-COVID next to COVID, CT_NonCOVID next to CT_COVID, effusion absent
    next to effusion.
    """
    if _is_normal_word(name):
        return True
    # What all begin with says nothing of any.
    words = zip(*map(_words, {name, *names}), strict=False)
    same = "".join(column[0] for column in takewhile(lambda column: len({*column}) == 1, words))
    others = {plain(other) for other in names if not _is_normal_word(other)} - {plain(name)}
    others |= {re.sub("(positive|present)$", "", other) for other in others}
    others |= {re.sub("^with(?!out)", "", other) for other in others}
    others |= {other.removeprefix(same) for other in others}
    others.discard("")
    negated = {f"{no}{other}" for other in others for no in _NO}
    negated |= {f"{other}{absent}" for other in others for absent in _ABSENT}
    return bool({plain(name), plain(name).removeprefix(same)} & negated)


def _is_normal_word(name: str) -> bool:
    words = _words(name)
    letters = [word for word in words if not word.isdigit() and word not in _FILLERS]
    return " ".join(letters or words) in _NORMAL


def one_class(where: object, name: str, count: int) -> str:
    """The error of a dataset with one class alone."""
    return (
        f"{where}: all {count} images are of one class, {ascii(name)[1:-1]}; a classifier needs two"
        " or more: was a folder or a part of the table left out?"
    )


def label_of(cell: str) -> str:
    """A label as it stands in a table, "" for none: 1.0 is 1, and NA or nan says nothing.

    None is a label: a word for normal.
    """
    return "" if cell.casefold() in _NO_LABEL else whole(cell)


def class_column(labels: Sequence[str], positive: str = "") -> tuple[list[Any], list[str]]:
    """The numbers of labels, -1 for an empty one, and the classes by number.

    Labels 0 and 1 are the classes negative and positive.

    Raises:
        UserError: As `numbered_classes`.
    """
    names = same_letters(label for label in labels if label)
    classes = numbered_classes(set(names.values()), positive)
    numbers = [classes.index(names[label]) if label else -1 for label in labels]
    return numbers, ["negative", "positive"] if classes == ["0", "1"] else classes
