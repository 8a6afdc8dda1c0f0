"""How many odd films are found, and untouched ones doubted, on films of other patients.

    python -m benchmarks.film_doubts --data ../shared/data

Three folds by patient: a detector (`common.imaging.film_doubts`) is fitted to two, and looks at the
third, as it is and changed, and at what is no chest film. Films come from ``rsna-pneumonia``,
``heart`` and ``kermany`` below the folder of data, each in the layout of RSNA's challenge; of more
than 600 films those of patients that are drawn. Prints a table in Markdown, in percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pydicom import dcmread
from skimage import data as pictures
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from common.base.errors import UserError, run_script
from common.base.files import ROOT
from common.imaging.film_doubts import SCORES, fit_detector
from common.imaging.film_looks import changed, look_at
from common.imaging.films import read_film
from common.imaging.letterbox import Letterbox

SETS = ("rsna-pneumonia", "heart", "kermany")
_SIZE, _MAX_FILMS = 256, 600
_UNTOUCHED, _PICTURES = "untouched", "photographs, text, noise, phantoms of a hand and a CT slice"
# The logarithm of a squash by 20 %, and the zoom that fits or fills the frame after it.
_SQUASH = -np.log(0.8)
_FIT = float(np.exp(-_SQUASH / 2))
_PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea", "page", "text", "moon", "coins",
                "rocket", "brick", "grass", "gravel", "clock")  # fmt: skip

CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    _UNTOUCHED: lambda film: film,
    "turned by 90 degrees": lambda film: np.rot90(film, -1),
    "turned by 270 degrees": lambda film: np.rot90(film),
    "turned by 180 degrees": lambda film: film[::-1, ::-1],
    "upside down": lambda film: film[::-1],
    "mirrored": lambda film: film[:, ::-1],
    "inverted": lambda film: 255 - film,
    "tilted by 15 degrees": lambda film: changed(film, 15, 0),
    "tilted by -15 degrees": lambda film: changed(film, -15, 0),
    "tilted by 15 degrees, without black corners": lambda film: changed(film, 15, 0, 1.22),
    "tilted by -15 degrees, without black corners": lambda film: changed(film, -15, 0, 1.22),
    "20 % narrower, the whole file": lambda film: changed(film, 0, _SQUASH, _FIT),
    "20 % lower, the whole file": lambda film: changed(film, 0, -_SQUASH, _FIT),
    "20 % narrower, cut to the same frame": lambda film: changed(film, 0, _SQUASH, 1 / _FIT),
    "20 % lower, cut to the same frame": lambda film: changed(film, 0, -_SQUASH, 1 / _FIT),
    "the left half black": lambda film: film * (np.arange(_SIZE) >= _SIZE // 2).astype(np.uint8),
    "a quarter of it, enlarged": lambda film: cv2.resize(
        film[_SIZE // 2 :, _SIZE // 2 :], (_SIZE,) * 2
    ),
}
"""What is done to the films of the fold that no detector saw."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    folder = parser.parse_args().data
    films = {name: read_set(folder / name) for name in SETS}
    columns = {name: share_doubted(name, films) for name in films}
    print(as_markdown(pd.DataFrame(columns)))


def read_set(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The films of a set, (n, 256, 256) uint8, and the patient of each.

    Raises:
        UserError: There is no such set.
    """
    paths = sorted((folder / "stage_2_train_images").glob("*.dcm"))
    if not paths:
        raise UserError(f"{folder}: holds no stage_2_train_images/*.dcm; name another --data")
    patients = [str(dcmread(path, stop_before_pixels=True).get("PatientID", "")) for path in paths]
    table = folder / "nih_patients.csv"
    if table.exists():
        known = pd.read_csv(table, dtype=str).set_index("patientId")["nih_patient"]
        patients = [known[path.stem] for path in paths]
    order = np.random.default_rng(0).permutation(sorted(set(patients)))
    place = {patient: number for number, patient in enumerate(order)}
    first = sorted(range(len(paths)), key=lambda i: place[patients[i]])[:_MAX_FILMS]
    return np.array([as_square(read_film(paths[i]).pixels) for i in first]), np.array(patients)[
        first
    ]


def share_doubted(name: str, films: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, str]:
    """A column of the table: the percent of films of each kind that are doubted, with the count."""
    squares, patients = films[name]
    kinds: dict[str, list[np.ndarray]] = {}
    folds = GroupKFold(3, shuffle=True, random_state=0).split(squares, groups=patients)
    for known, unseen in folds:
        detector = fit_detector([*map(look_at, squares[known])], patients[known].tolist(), seed=0)
        assert detector is not None
        batches = {kind: [*map(change, squares[unseen])] for kind, change in CHANGES.items()}
        batches |= {other: [*films[other][0]] for other in films if other != name}
        batches[_PICTURES] = no_films()
        for kind, batch in batches.items():
            scores = detector.models.scores([look_at(np.ascontiguousarray(b)) for b in batch])
            doubted = (scores > detector.thresholds).any(axis=1)
            unlike = scores[:, list(SCORES).index("unlike")]
            kinds.setdefault(kind, []).append(np.stack([doubted, unlike]))
    joined = {kind: np.hstack(parts) for kind, parts in kinds.items()}
    column = {}
    for kind, (doubted, unlike) in joined.items():
        column[kind] = f"{100 * doubted.mean():.1f} ({int(doubted.sum())} of {len(doubted)})"
        if kind in films:
            _, untouched = joined[_UNTOUCHED]
            truth = np.repeat([0, 1], [len(untouched), len(unlike)])
            area = roc_auc_score(truth, np.hstack([untouched, unlike]))
            column[kind] += f", AUROC {area:.3f}"
    return column


def no_films() -> list[np.ndarray]:
    """Photographs of scikit-image and scikit-learn, noise, and drawn phantoms, in squares."""
    images = [getattr(pictures, name)() for name in _PHOTOGRAPHS]
    images += load_sample_images().images
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (_SIZE, _SIZE)).astype(np.uint8)
    images += [noise, cv2.GaussianBlur(noise, (0, 0), 4), _hand(), _ct_slice(), _page()]
    return [as_square(image) for image in images]


def as_square(image: np.ndarray) -> np.ndarray:
    """A grey or colour picture in its square."""
    grey = image if image.ndim == 2 else image[..., :3] @ np.array([0.299, 0.587, 0.114])
    rows, columns = grey.shape
    return Letterbox(rows, columns, _SIZE).into_square(grey.astype(np.uint8))


def as_markdown(table: pd.DataFrame) -> str:
    """A table with its index, as Markdown."""
    head = ["", *map(str, table.columns)]
    rows = [
        [str(kind), *map(str, row)] for kind, row in zip(table.index, table.values, strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join('' if c == 'nan' else c for c in line)} |" for line in lines)


def _hand() -> np.ndarray:
    picture = np.zeros((_SIZE, _SIZE), np.uint8)
    cv2.ellipse(picture, (128, 180), (48, 56), 0, 0, 360, 120, -1)
    for tip in ((50, 120), (85, 40), (118, 22), (150, 34), (185, 66)):
        cv2.line(picture, (128, 180), tip, 120, 20)
        cv2.line(picture, (128, 180), tip, 220, 8)
    return cv2.GaussianBlur(picture, (0, 0), 1.5)


def _ct_slice() -> np.ndarray:
    picture = np.zeros((_SIZE, _SIZE), np.uint8)
    cv2.ellipse(picture, (128, 128), (110, 80), 0, 0, 360, 140, -1)
    for middle in (80, 176):
        cv2.ellipse(picture, (middle, 120), (34, 52), 0, 0, 360, 20, -1)
    cv2.circle(picture, (128, 178), 14, 255, -1)
    return cv2.GaussianBlur(picture, (0, 0), 1.5)


def _page() -> np.ndarray:
    picture = np.full((_SIZE, _SIZE), 245, np.uint8)
    for row in range(20, 250, 14):
        cv2.putText(picture, "the quick brown fox jumps over", (8, row), 0, 0.4, 20, 1)
    return picture


if __name__ == "__main__":
    run_script(main)
