"""A folder in the layout of the Medical Segmentation Decathlon to a table of cases.

``imagesTr/`` and ``labelsTr/`` hold one volume per case, under the same name: a file, or a folder
with the slices of a DICOM series. ``dataset.json`` lists them and names the labels. An image may
carry nnU-Net's channel suffix ``_0000``, a mask a word for what it is (``_seg``), and letters may
differ in case. Hidden files are ignored: archives made on a Mac hold a ``._la_003.nii.gz``, no
NIfTI, next to every volume.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from common.base.errors import UserError
from common.base.files import decoded, read_json
from common.datasets.csv_tables import list_names, usable_id
from common.datasets.patients import NAMED, find_patients, numbered
from common.datasets.repairs import note_repair
from common.imaging.image_files import as_text, list_files
from common.imaging.volume_names import is_slice, is_volume
from common.imaging.volume_names import stem as stem_of

IMAGES = "imagesTr"
MASKS = "labelsTr"
DATASET = "dataset.json"
"""The names in a decathlon folder, as the module's docstring describes them."""

_UNKNOWN = "nothing here says whose a volume is, so one volume per patient is assumed"
# What dataset.json and each of its entries may call their parts, in lower case.
_TRAINING = ("training", "train")
_IMAGE = ("image", "images", "img")
_MASK = ("label", "mask", "seg", "segmentation")
# nnU-Net's number of a channel.
_CHANNEL = re.compile(r"_(\d{4})$")
# What a mask's name says that it is, behind the name of its image.
_WORD = re.compile(
    r"[-_. ](seg|segmentation|mask|label|labels|labelmap|gt|ground[-_]?truth|manual|roi)$", re.I
)


def index_volumes(
    source: Path, patients: Path | None = None
) -> tuple[pd.DataFrame, dict[int, str]]:
    """List the volumes of a decathlon folder with their masks.

    Args:
        source: The folder. The training list of ``dataset.json`` names the volumes that count;
            without the file (or without a list in it, as nnU-Net writes it) all do.
        patients: A CSV of case and patient, since the layout says of no volume whose it is. A
            DICOM series that it lacks is grouped by its PatientID.

    Returns:
        One row per case, sorted by case, and the labels' names by value ({0: background,
        1: foreground} without a dataset.json). Columns:

        * ``case``: the file's name without suffix, and without channel if the mask has none;
        * ``path``, ``mask_path``: from ``source``, with ``/``; "" if there is none;
        * ``patient``: the case, or by ``patients`` "P00001", ...; ``patient_hash`` as in
          `common.datasets.rsna.index_pneumonia`;
        * ``left_out``: "", or why the case can't be used: no image, no mask, not in dataset.json,
          outside the dataset, several channels, several files, another case's mask, unusable id.

        ``.attrs`` holds `common.datasets.patients.Patients.attributes`.

    Raises:
        UserError: The folder, its images or masks are not there, no image has a mask of its name,
            or dataset.json is broken.
    """
    source = Path(source)
    if not source.is_dir():
        raise UserError(f"{source}: there is no such folder; give --source the dataset's folder")
    files, mask_files = _files(source, IMAGES), _files(source, MASKS)
    listed, labels = _dataset(source)
    if not files:
        folder = volume_folder(source, IMAGES)
        raise UserError(
            f"{folder}: no volumes are there; expected .nii.gz files, or a folder of DICOM slices "
            f"for each; found {list_names(folder)}"
        )

    names = set(files) | {_CHANNEL.sub("", name) for name in files}
    spelled = _spelling(names)

    def of_mask(stem: str) -> str:
        likely = (spelled(name) for name in (stem, _WORD.sub("", stem)))
        return next((name for name in likely if name in names), stem)

    masks: dict[str, list[str]] = defaultdict(list)
    for stem, paths in mask_files.items():
        masks[of_mask(stem)] += paths
    renamed = sum(of_mask(stem) != stem for stem in mask_files)
    note_repair(source / MASKS, "masks named in other letters, or with a word more", renamed)
    known = set(masks) | {spelled(_stem(image)) for image, _ in listed or ()}

    def case_of(stem: str) -> str:
        # Not every _0001 is a channel: a dataset may number its patients so.
        short = _CHANNEL.sub("", stem)
        return short if stem not in masks and short in known else stem

    images: dict[str, list[str]] = {}
    for stem, paths in files.items():
        images.setdefault(case_of(stem), []).extend(paths)
    rows: dict[str, dict[str, str]] = {}
    other_letters = 0
    for number, (image, mask) in enumerate(listed or (), 1):
        case, mask_case = case_of(spelled(_stem(image))), of_mask(_stem(mask))
        other_letters += spelled(_stem(image)) != _stem(image)
        if not _inside(image) or not _inside(mask):
            rows[f"entry {number} of {DATASET}"] = _row("", "", "outside the dataset")
        elif not usable_id(case):
            rows[f"entry {number} of {DATASET}"] = _row("", "", "unusable id")
        else:
            row = _paired(images.get(case, []), masks.get(mask_case, []))
            if mask_case != case and mask_case in images:
                row["left_out"] = f"another case's mask: that of {mask_case}"
            if rows.setdefault(case, row) != row:
                rows[case]["left_out"] = f"several files: {DATASET} lists it with several"
    note_repair(source / DATASET, "images named in other letters", other_letters)
    # Without a list a mask alone is a case too; with a list it may belong to an image of another
    # name.
    unlisted = set(images) | (set(masks) if listed is None else set())
    for number, case in enumerate(sorted(unlisted - set(rows)), 1):
        if not usable_id(case):
            rows[f"unusable name {number}"] = _row("", "", "unusable id")
        else:
            rows[case] = _paired(images.get(case, []), masks.get(case, []))
            if listed is not None:
                rows[case]["left_out"] = f"not in {DATASET}"
    if mask_files and not any(row["path"] and row["mask_path"] for row in rows.values()):
        raise UserError(
            f"{source}: no image has a mask of its name; {IMAGES}/ has {ascii(min(files))[1:-1]}, "
            f"{MASKS}/ has {ascii(min(mask_files))[1:-1]}; name both alike, or list each with its "
            f"mask in {DATASET}"
        )
    cases = sorted(rows)
    frame = pd.DataFrame([{"case": case, "patient": case, **rows[case]} for case in cases])
    with_image = {
        case: _patient_id(source / path) for case in cases if (path := rows[case]["path"])
    }
    named = find_patients(source, patients, with_image, _stem, "case")
    if named.known_from:
        frame["patient"] = numbered([named.keys.get(case, f" {case}") for case in cases])
    frame["patient_hash"] = [named.hashes.get(case, "") for case in cases]
    frame.attrs |= {**named.attributes, NAMED: named.named}
    if listed is not None:
        frame.attrs |= {"table": DATASET, "listed": len(listed)}
    if not named.known_from:
        frame.attrs["patients_remark"] = _UNKNOWN
    columns = ["case", "path", "mask_path", "patient", "left_out", "patient_hash"]
    return frame.reindex(columns=columns), labels


def _patient_id(image: Path) -> str:
    """Whose a DICOM series is, by its header; "" for files of other formats, which do not say."""
    if not image.is_dir():
        return ""
    # With pydicom: only where it is used.
    from common.imaging.dicom_series import patient_of

    return patient_of(image)


def volume_folder(source: Path, name: str) -> Path:
    """The folder of this name, in any case of letters; it need not be there."""
    if (source / name).is_dir() or not source.is_dir():
        return source / name
    same = [path for path in source.iterdir() if path.name.casefold() == name.casefold()]
    return same[0] if len(same) == 1 and same[0].is_dir() else source / name


def _files(source: Path, name: str) -> dict[str, list[str]]:
    """The volumes of a folder by name without suffix, as paths from ``source``."""
    folder = volume_folder(source, name)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder; expected {IMAGES}/ and {MASKS}/ in "
            f"{source}; found {list_names(source)}"
        )
    files: dict[str, list[str]] = defaultdict(list)
    series: set[Path] = set()
    for file in list_files(folder).files:
        volume = folder / file.relative_to(folder).parts[0]
        if volume in series or not (is_volume(file) if volume == file else is_slice(file)):
            continue
        series.add(volume)
        files[_stem(volume.name)].append(f"{folder.name}/{volume.name}")
    return files


def _stem(path: str) -> str:
    return stem_of(as_text(PurePosixPath(path).name))


def _spelling(names: Iterable[str]) -> Callable[[str], str]:
    """Gives a name as it stands among these, where one differs from it in letters' case alone."""
    same: dict[str, set[str]] = defaultdict(set)
    for name in names:
        same[name.casefold()].add(name)

    def spelled(name: str) -> str:
        likely = same.get(name.casefold(), set())
        return name if name in likely or len(likely) != 1 else next(iter(likely))

    return spelled


def _paired(images: list[str], masks: list[str]) -> dict[str, str]:
    reason = ""
    if not images or not masks:
        reason = "no mask" if images else "no image"
    elif len({_stem(image) for image in images}) > 1:
        reason = "several channels"
    elif len(images) > 1 or len(masks) > 1:
        reason = "several files"
    return _row(images[0] if images else "", masks[0] if masks else "", reason)


def _row(image: str, mask: str, reason: str) -> dict[str, str]:
    return {"path": image, "mask_path": mask, "left_out": reason}


def _inside(path: str) -> bool:
    """Whether a path of dataset.json stays in the folder, by its text alone."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts


def _dataset(source: Path) -> tuple[list[tuple[str, str]] | None, dict[int, str]]:
    """The (image, mask) pairs that dataset.json lists, None without a list, and the labels."""
    path = source / DATASET
    if not path.is_file():
        return None, {0: "background", 1: "foreground"}
    content = read_json(path)
    try:
        labels = _labels(_value(content, "labels"))
        training = _value(content, *_TRAINING)
        if not isinstance(training, list | None):
            raise TypeError
        listed = None if training is None else [_pair(entry) for entry in training]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise UserError(
            f'{path}: expected "labels" as {{"0": "background", "1": "..."}} and "training" as a '
            'list of {"image": "...", "label": "..."}; correct it, or take the file away to use '
            "every volume"
        ) from None
    encoding = decoded(path.read_bytes())[1]
    if encoding:
        note_repair(path, f"in {encoding}, not in UTF-8")
    if listed is None:
        return None, labels
    if not listed:
        raise UserError(
            f"{path}: its list of training volumes is empty; list them, or take the list away to "
            "use every volume"
        )
    pairs = list(dict.fromkeys((_slashed(image), _slashed(mask)) for image, mask in listed))
    note_repair(path, "entries that are there already", len(listed) - len(pairs))
    note_repair(path, "entries with backslashes", sum("\\" in "".join(p) for p in listed))
    inside = [(_from_here(image, IMAGES), _from_here(mask, MASKS)) for image, mask in pairs]
    moved = sum(before != after for before, after in zip(pairs, inside, strict=True))
    note_repair(path, "entries with the folder of another machine", moved)
    return inside, labels


def _value(content: dict[str, Any], *names: str) -> Any:
    """The value under one of these names in any case of letters; None without one.

    Raises:
        ValueError: Two are there.
    """
    keys = [key for key in content if key.lower() in names]
    if len(keys) > 1:
        raise ValueError
    return content[keys[0]] if keys else None


def _pair(entry: Any) -> tuple[str, str]:
    """Image and mask of an entry; one that is an image alone has a mask of the same name."""
    if isinstance(entry, str):
        return entry, f"{MASKS}/{PurePosixPath(_slashed(entry)).name}"
    image, mask = _value(entry, *_IMAGE), _value(entry, *_MASK)
    if isinstance(image, list):  # nnU-Net's list of channels
        (image,) = image
    if not isinstance(image, str) or not isinstance(mask, str):
        raise ValueError
    return image, mask


def _slashed(path: str) -> str:
    """A path as POSIX writes it; on Windows its parts lie between backslashes."""
    return path.replace("\\", "/")


def _from_here(path: str, folder: str) -> str:
    """A path from elsewhere as one of this dataset, where its last folder is ours."""
    parts = PurePosixPath(path).parts
    is_elsewhere = path.startswith(("/", "../")) or path[1:3] == ":/"
    # Behind a folder ".." may lead anywhere.
    further = parts[next((i for i, part in enumerate(parts) if part != ".."), 0) :]
    if is_elsewhere and len(parts) > 2 and parts[-2] == folder and ".." not in further:
        return "/".join(parts[-2:])
    return path


def _labels(content: dict[str, Any]) -> dict[int, str]:
    """Names by value: the decathlon writes {"0": name}, nnU-Net {name: 0}."""
    pairs = list(content.items())
    if all(str(key).isdigit() for key, _ in pairs):
        labels = {int(key): str(name) for key, name in pairs}
    else:
        labels = {int(value): str(name) for name, value in pairs}
    if 0 not in labels or len(labels) < 2 or not all(0 <= value <= 255 for value in labels):
        raise ValueError
    return dict(sorted(labels.items()))
