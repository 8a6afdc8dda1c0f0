"""The items of two checklists for reports, and which entries of a run's files answer each.

CLAIM 2024: Tejani et al., Radiology: Artificial Intelligence 6(4), e240300 (10.1148/ryai.240300).
TRIPOD+AI: Collins et al., BMJ 385, e078378 (10.1136/bmj-2023-078378), the items that ask for what
CLAIM does not. Items have their published numbers and are put in short words of our own. One
without facts is for the authors: no file of a run can answer it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.reporting.model_card import display
from common.scores.formatting import with_interval

CONFIG, FITTED, METRICS = "config.json", "fitted.json", "metrics.json"
"""The files of a run, and of the evaluation that is reported."""

OWN, OTHERS = "metrics.json of own data", "metrics.json of other data"
"""Those of all evaluations of the run, on its own data and on other data."""


def plain(value: Any) -> str:
    """A value in words: yes, no, numbers, or the entries of a list or an object."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_within(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_within, value))
    return display(value)


def _within(value: Any) -> str:
    """A value among others, in brackets if it is several itself."""
    if isinstance(value, Mapping):
        return f"({plain(value) or 'none'})"
    return f"[{plain(value)}]" if isinstance(value, list | tuple) else plain(value)


@dataclass(frozen=True)
class Fact:
    """An entry of a file that answers an item, or a part of it.

    Attributes:
        label: What the entry is, in words that hold whatever its value.
        file: `CONFIG` and so on.
        path: The names that lead to it, with "/" between them.
        show: Its value in words; "" where it says nothing.
    """

    label: str
    file: str
    path: str
    show: Callable[[Any], str] = plain


@dataclass(frozen=True)
class Item:
    """An item of a checklist.

    Attributes:
        number: As published.
        asks: What for, in short.
        facts: What answers it; none where only the authors can.
    """

    number: str
    asks: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Checklist:
    """A checklist.

    Attributes:
        title: Its name.
        source: The paper.
        items: In their order.
    """

    title: str
    source: str
    items: tuple[Item, ...]


def _entries(show: Callable[[Mapping[str, Any]], str]) -> Callable[[Any], str]:
    """Entries of a list, each in words; an empty one is left out."""
    return lambda entries: "; ".join(filter(None, map(show, entries)))


def _numbers(split: Mapping[str, Any]) -> str:
    patients = (
        "patients not known" if split["patients"] is None else f"{split['patients']} patients"
    )
    return f"{split['data']} {split['split']}: {patients}, {split['images']} images"


def _characteristics(split: Mapping[str, Any]) -> str:
    parts = [f"{name} {plain(split[name])}" for name in ("sex", "view") if split[name]]
    if age := split["age_years"]:
        parts.insert(0, f"age in years, quartiles {plain(age['quartiles'])} of {age['known']}")
    for name, counts in (split["classes"] or {}).items():
        parts.append(f"{counts['images']} images have {name}")
    return f"{split['data']} {split['split']}: {', '.join(parts)}" if parts else ""


def _views(split: Mapping[str, Any]) -> str:
    return f"{split['data']} {split['split']}: {plain(split['view'])}" if split["view"] else ""


def _events(split: Mapping[str, Any]) -> str:
    counts = ", ".join(
        f"{part['images']} images have {name}" for name, part in (split["classes"] or {}).items()
    )
    return f"{split['data']} {split['split']}: {split['images']} images, {counts}" if counts else ""


def _left_out(entries: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{entry['images']} ({entry['reason']})" for entry in entries) or "none"


def _group(entry: Mapping[str, Any]) -> str:
    return f"{entry['group']} (n {entry['n']}): {entry['name']} {with_interval(entry)}"


def _difference(entry: Mapping[str, Any]) -> str:
    if not entry.get("difference"):
        return ""
    less = with_interval(entry["difference"])
    return f"{entry['name']} less that of the baseline ({entry['baseline_name']}): {less}"


def _methods(entries: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(filter(None, (each.get("ci95_method") for each in entries))))


def _rescaled(calibration: Mapping[str, Any]) -> str:
    keys = ("method", "temperature", "shift", "brier_before", "brier_after")
    gap = calibration.get("differences", {}).get("brier")
    words = f"; after less before {with_interval(gap, sign='+')}, {gap['verdict']}" if gap else ""
    return plain({key: calibration[key] for key in keys if key in calibration}) + words


_scores = _entries(lambda entry: f"{entry['name']} {with_interval(entry)}")
_DEALT = ("validation_share", "test_share", "folds", "split_by", "split_from", "own_split", "seed")


def _some(names: Sequence[str]) -> Callable[[Any], str]:
    """Some of an object's entries."""
    return lambda value: plain({name: value[name] for name in names if name in value})


def _others(names: Sequence[str]) -> Callable[[Any], str]:
    """An object's entries but some."""
    return lambda value: plain({name: value[name] for name in value if name not in names})


_NOT_OF_TRAINING = ("preset", "prepared", "run", "device", "checkpoint_seconds", "profile")
_SPLITS = "participants/splits"

_DATA = (
    Fact("data that trained", CONFIG, "dataset"),
    Fact("it is made up", CONFIG, "synthetic"),
    Fact("data that was scored", METRICS, "dataset"),
)
_LEFT_OUT = Fact("images left out, and why", METRICS, "participants/left_out", _left_out)
_COUNTS = Fact("by split", METRICS, _SPLITS, _entries(_numbers))
_WHO = Fact("by split", METRICS, _SPLITS, _entries(_characteristics))
_MAIN = Fact("scores with 95 % interval", METRICS, "main_scores", _scores)
_GROUPS = Fact("by group", METRICS, "main_scores_of_groups", _entries(_group))
_RESCALED = Fact("probabilities rescaled", METRICS, "calibration", _rescaled)
_SHA = Fact("SHA-256 of the run's files", FITTED, "sha256")
_COMMIT = Fact("commit of the code", CONFIG, "versions/commit")
_THRESHOLD = (
    Fact("threshold", METRICS, "threshold"),
    Fact("chosen by", METRICS, "threshold_from"),
)
_ELSEWHERE = (
    Fact("other data", OTHERS, "dataset"),
    Fact("cases", OTHERS, "n"),
    Fact("scores", OTHERS, "main_scores", _scores),
)

CLAIM = Checklist(
    "CLAIM 2024",
    "Tejani et al. 2024, doi:10.1148/ryai.240300",
    (
        Item("1", "title: that it is a study of AI, and of which kind"),
        Item("2", "abstract: design, methods, results, conclusions"),
        Item("3", "background, intended use and role of the AI"),
        Item("4", "aims and hypotheses"),
        Item("5", "prospective or retrospective"),
        Item("6", "goal of the study"),
        Item("7", "sources of the data", _DATA),
        Item("8", "who is included and who is not", (_LEFT_OUT,)),
        Item(
            "9",
            "preprocessing",
            (Fact("settings of the preparation", CONFIG, "data/settings", _others(_DEALT)),),
        ),
        Item("10", "selection of subsets of the data"),
        Item("11", "de-identification"),
        Item("12", "how missing data was handled"),
        Item(
            "13", "how images were acquired", (Fact("views", METRICS, _SPLITS, _entries(_views)),)
        ),
        Item("14", "how the reference standard was obtained"),
        Item("15", "why this reference standard"),
        Item("16", "who annotated it"),
        Item("17", "annotation of the test set"),
        Item("18", "variability between and within annotators"),
        Item(
            "19",
            "how cases were assigned to partitions",
            (
                Fact("settings", CONFIG, "data/settings", _some(_DEALT)),
                Fact("fold that validated", CONFIG, "settings/fold"),
            ),
        ),
        Item(
            "20",
            "the level at which partitions are disjoint",
            (
                Fact("patients are known", METRICS, "patients_known"),
                Fact("why scores may be too good", METRICS, "split_warning"),
                Fact("compared with training by pixels", METRICS, "seen/checked"),
                Fact("and by patient", METRICS, "seen/by_patient"),
            ),
        ),
        Item("21", "intended size of the test set"),
        Item(
            "22",
            "the model in detail",
            (
                Fact("outputs, by name", CONFIG, "data/classes"),
                Fact("labels", METRICS, "labels"),
                Fact("networks", FITTED, "models"),
                Fact("pixels of a side of the input", FITTED, "image_size"),
                _SHA,
            ),
        ),
        Item("23", "software", (Fact("versions", CONFIG, "versions"),)),
        Item("24", "initialization of parameters", (Fact("weights", CONFIG, "settings/weights"),)),
        Item(
            "25",
            "training",
            (
                Fact("settings", CONFIG, "settings", _others(_NOT_OF_TRAINING)),
                Fact("changed by the preset for this data", CONFIG, "adapted"),
                Fact("computed with", CONFIG, "computed_with"),
            ),
        ),
        Item(
            "26",
            "how the final model was selected",
            (
                Fact("the epoch that is best by", CONFIG, "settings/monitor"),
                Fact("stops after epochs without a better one", CONFIG, "settings/patience"),
                *_THRESHOLD,
            ),
        ),
        Item("27", "ensembling", (Fact("runs averaged", METRICS, "ensemble"),)),
        Item(
            "28",
            "metrics",
            (Fact("main scores", METRICS, "main_scores", _entries(lambda entry: entry["name"])),),
        ),
        Item(
            "29",
            "significance and uncertainty",
            (
                Fact("95 % intervals over patients", METRICS, "patients_known"),
                Fact("by", METRICS, "main_scores", _methods),
            ),
        ),
        Item("30", "robustness or sensitivity", (_GROUPS,)),
        Item("31", "explainability", (Fact("Grad-CAM", METRICS, "gradcam"),)),
        Item(
            "32",
            "evaluation on internal data",
            (
                Fact("split", OWN, "split"),
                Fact("cases", OWN, "n"),
                Fact("scores", OWN, "main_scores", _scores),
            ),
        ),
        Item("33", "testing on external data", _ELSEWHERE),
        Item("34", "registration of the trial"),
        Item("35", "numbers included and excluded", (_COUNTS, _LEFT_OUT)),
        Item("36", "characteristics of cases in each partition", (_WHO,)),
        Item("37", "performance with its uncertainty", (_MAIN,)),
        Item(
            "38",
            "diagnostic performance and its precision",
            (
                Fact("confusion matrix, a row a true class", METRICS, "confusion_matrix"),
                Fact("sensitivity", METRICS, "recall"),
                Fact("specificity", METRICS, "specificity"),
                Fact("95 % intervals", METRICS, "ci95", _some(("recall", "specificity"))),
                Fact("paired", METRICS, "main_scores", _entries(_difference)),
            ),
        ),
        Item(
            "39",
            "failures",
            (
                Fact(
                    "cases that are drawn",
                    METRICS,
                    "examples",
                    _entries(lambda entry: f"{entry['case']} ({entry['kind']})"),
                ),
            ),
        ),
        Item(
            "40",
            "limitations",
            (
                Fact("why scores may be too good", METRICS, "split_warning"),
                Fact("the data is made up", METRICS, "data_synthetic"),
                Fact("scored before on the same images, times", METRICS, "scored_before"),
            ),
        ),
        Item("41", "implications for practice"),
        Item("42", "protocol or further technical details", (_COMMIT,)),
        Item("43", "availability of software, model and data"),
        Item("44", "funding"),
    ),
)

TRIPOD = Checklist(
    "TRIPOD+AI 2024, the items that ask for more",
    "Collins et al. 2024, doi:10.1136/bmj-2023-078378",
    (
        Item("3c", "known inequalities in health between groups"),
        Item("5b", "dates of the data"),
        Item("6a", "setting, number and place of centres"),
        Item("6c", "treatments"),
        Item("8c", "blinding of who assessed the outcome"),
        Item("12d", "heterogeneity between clusters such as hospitals"),
        Item(
            "12f",
            "updating of the model, such as recalibration",
            (_RESCALED, *_THRESHOLD),
        ),
        Item(
            "12g",
            "how predictions were calculated",
            (Fact("settings of evaluate.py", METRICS, "evaluation_settings"),),
        ),
        Item(
            "13",
            "imbalance of classes",
            (
                Fact("balanced by", CONFIG, "settings/balance"),
                Fact("augmented copies", CONFIG, "data/settings/copies"),
            ),
        ),
        Item("14", "fairness between groups", (_GROUPS,)),
        Item(
            "15",
            "output, classes and thresholds",
            (Fact("classes", METRICS, "classes"), Fact("labels", METRICS, "labels"), *_THRESHOLD),
        ),
        Item(
            "16",
            "differences between training and evaluation data",
            (Fact("the data scored is other data", METRICS, "other_source"), _WHO),
        ),
        Item("17", "approval by an ethics committee"),
        Item("18b", "conflicts of interest"),
        Item("19", "involvement of patients and the public"),
        Item("20c", "training and evaluation data compared", (_WHO,)),
        Item(
            "21",
            "participants and outcome events in each analysis",
            (_COUNTS, Fact("by split", METRICS, _SPLITS, _entries(_events))),
        ),
        Item("22", "the full model, to predict with", (_SHA, _COMMIT)),
        Item("23a", "performance in key groups", (_GROUPS,)),
        Item("23b", "performance between clusters", _ELSEWHERE),
        Item("24", "results of updating", (_RESCALED,)),
        Item("25", "interpretation, fairness included"),
        Item("27a", "poor or missing input in use"),
        Item("27b", "who uses it, and with what expertise"),
        Item("27c", "next steps of research"),
    ),
)
