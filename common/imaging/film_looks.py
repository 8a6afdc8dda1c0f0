"""A film as a detector of odd films looks at it: small, as numbers that say where edges point.

The numbers are histograms of oriented gradients (Dalal and Triggs 2005, 10.1109/CVPR.2005.177),
with their signs, since a film's light and dark are no accident, and grey values on a coarse grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 64
"""Of a look in pixels."""

UPRIGHT, MIRRORED, HALF_TURNED, UPSIDE_DOWN = range(4)
LEFT, LEFT_MIRRORED, RIGHT, RIGHT_MIRRORED, INVERTED = range(4, 9)
"""The poses of a copy: upside down is turned by a half and mirrored, left and right are turned by a
quarter."""

# Lines of the film on which sharpness is measured.
_LINES = 128
_CELLS, _ANGLES, _GRID = 8, 8, 16
# Of grey values next to gradients.
_GREY = 0.3
# A row or column is a bar up to this grey value, as in `common.imaging.acquisition`.
_BLACK = 8
# The weight of bars, in standard deviations of grey.
_BAR = 2.0
_ROWS, _COLUMNS = np.indices((SIDE, SIDE)) * _CELLS // SIDE
_FIRST_BIN = (_ROWS * _CELLS + _COLUMNS) * _ANGLES
_BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT)


class Look(NamedTuple):
    """A film made small.

    Attributes:
        picture: (`SIDE`, `SIDE`) uint8.
        sharpness: (3,) float32, what is lost by that: logarithms of the mean first and second
            differences before, and of the first ones after.
    """

    picture: np.ndarray
    sharpness: np.ndarray


def look_at(square: np.ndarray) -> Look:
    """Look at a film in its square, (n, n) uint8."""
    picture = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lines = square[:: max(1, len(square) // _LINES)].astype(np.float32)
    first = lines[:, 1:] - lines[:, :-1]
    second = first[:, 1:] - first[:, :-1]
    small = picture[:, 1:].astype(np.float32) - picture[:, :-1]
    means = [np.abs(differences).mean() for differences in (first, second, small)]
    return Look(picture, np.log(np.array(means, np.float32) + 0.1))


def look_numbers(picture: np.ndarray) -> np.ndarray:
    """The picture of a look as numbers: (772,) float32."""
    pixels = picture.astype(np.float32)
    pixels = (pixels - pixels.mean()) / (pixels.std() + 1)
    across, down = np.zeros_like(pixels), np.zeros_like(pixels)
    across[:, 1:-1] = pixels[:, 2:] - pixels[:, :-2]
    down[1:-1] = pixels[2:] - pixels[:-2]
    strength, angle = cv2.cartToPolar(across, down)
    place = angle * (_ANGLES / (2 * np.pi))
    first = np.floor(place)
    share = place - first
    counts = np.zeros(_CELLS * _CELLS * _ANGLES, np.float32)
    for step, weight in ((0, 1 - share), (1, share)):
        bins = _FIRST_BIN + (first.astype(np.intp) + step) % _ANGLES
        counts += np.bincount(bins.ravel(), (strength * weight).ravel(), len(counts))
    histograms = counts.reshape(_CELLS, _CELLS, _ANGLES) * (_CELLS / SIDE) ** 2
    norms = np.sqrt((histograms**2).sum(axis=2))
    around = cv2.blur(norms, (3, 3), borderType=cv2.BORDER_REPLICATE)
    edges = np.sqrt(histograms / (around[..., None] + 0.1))
    grey = cv2.resize(pixels, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    bars = _BAR * black_bars(picture)
    return np.concatenate([edges.ravel(), _GREY * grey.ravel(), bars]).astype(np.float32)


def black_bars(picture: np.ndarray) -> np.ndarray:
    """The black bars at the left, right, top and bottom, (4,) in shares of the side."""
    lines = [picture.max(axis=axis) <= _BLACK for axis in (0, 1)]
    ends = [end for line in lines for end in (line, line[::-1])]
    return np.array([1.0 if end.all() else np.argmin(end) / len(end) for end in ends])


def _flipped(rows: int, columns: int) -> np.ndarray:
    """By the numbers of a flipped picture, which of the picture's own they are.

    Args:
        rows: -1 where it is flipped up and down, else 1.
        columns: -1 where it is flipped across, else 1.
    """
    cells = np.arange(_CELLS**2 * _ANGLES).reshape(_CELLS, _CELLS, _ANGLES)
    # A gradient that points to the right then points to the left, and one down up.
    to_the_right = 0 if columns > 0 else _ANGLES // 2
    angles = (to_the_right + rows * columns * np.arange(_ANGLES)) % _ANGLES
    grey = cells.size + np.arange(_GRID**2).reshape(_GRID, _GRID)
    bars = cells.size + grey.size + np.arange(4)
    return np.concatenate(
        [
            cells[::rows, ::columns, angles].ravel(),
            grey[::rows, ::columns].ravel(),
            bars[:2][::columns],
            bars[2:][::rows],
        ]
    )


FLIPS = (
    (_flipped(1, -1), (1, 0, 3, 2, 5, 4, 7, 6, INVERTED)),
    (_flipped(-1, -1), (2, 3, 0, 1, 6, 7, 4, 5, INVERTED)),
)
"""Mirrored, and turned by a half: which of a picture's numbers are those of the flipped one,
``look_numbers(picture[:, ::-1])`` is ``look_numbers(picture)[FLIPS[0][0]]``, and the pose of each
pose then."""


@dataclass(frozen=True)
class Copies:
    """Looks that were changed in a known way.

    Attributes:
        numbers: (n, 772), `look_numbers`.
        film: (n,), the number of the film that each was made from.
        degrees: (n,), by which each is tilted.
        squash: (n,), the logarithm of its height over its width, 0 as it was.
        pose: (n,), such as `UPRIGHT`; -1 of tilted and squashed ones.
    """

    numbers: np.ndarray
    film: np.ndarray
    degrees: np.ndarray
    squash: np.ndarray
    pose: np.ndarray


def changed_copies(pictures: Sequence[np.ndarray], count: int, seed: int) -> Copies:
    """Copies of films in all poses, and tilted and squashed ones.

    Args:
        pictures: (n, `SIDE`, `SIDE`) uint8.
        count: Of tilted and squashed copies of each film.
        seed: Of what is drawn.
    """
    generator = np.random.default_rng(seed)
    rows = [row for i, look in enumerate(pictures) for row in _copies(i, look, count, generator)]
    numbers, film, degrees, squash, pose = zip(*rows, strict=True)
    return Copies(np.stack(numbers), *map(np.array, (film, degrees, squash, pose)))


def _copies(
    film: int, look: np.ndarray, count: int, generator: np.random.Generator
) -> Iterator[tuple[np.ndarray, int, float, float, int]]:
    for _ in range(count):
        degrees = generator.uniform(-22, 22) if generator.random() < 0.7 else 0.0
        squash = generator.uniform(-0.35, 0.35) if generator.random() < 0.7 else 0.0
        copy = changed(look, degrees, squash, *_place(generator))
        yield look_numbers(copy), film, degrees, squash, -1
    for pose, turned in in_poses(look):
        yield look_numbers(changed(turned, 0.0, 0.0, *_place(generator))), film, 0.0, 0.0, pose


def in_poses(look: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """A picture in each pose, with its number."""
    yield from ((UPRIGHT, look), (MIRRORED, look[:, ::-1]), (INVERTED, 255 - look))
    yield from ((HALF_TURNED, look[::-1, ::-1]), (UPSIDE_DOWN, look[::-1]))
    turned = np.rot90(look)
    yield from ((LEFT, turned), (LEFT_MIRRORED, turned[:, ::-1]))
    yield from ((RIGHT, turned[::-1, ::-1]), (RIGHT_MIRRORED, turned[::-1]))


def _place(generator: np.random.Generator) -> tuple[float, np.ndarray, int]:
    zoom = float(np.exp(generator.uniform(-0.05, 0.22)))
    return zoom, generator.uniform(-0.03, 0.03, 2), int(generator.choice(_BORDERS))


def changed(
    picture: np.ndarray,
    degrees: float,
    squash: float,
    zoom: float = 1.0,
    shift: Sequence[float] | np.ndarray = (0.0, 0.0),
    border: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    """A square picture, tilted and squashed about its middle, of the same size.

    Args:
        picture: (n, n) uint8.
        degrees: Clockwise.
        squash: The logarithm of height over width that it gets; its area stays.
        zoom: Of the whole.
        shift: Across and down, in shares of the side.
        border: OpenCV's rule for what comes from outside.
    """
    size = len(picture)
    angle, middle = np.deg2rad(degrees), np.full(2, (size - 1) / 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([np.exp(-squash / 2), np.exp(squash / 2)]) * zoom
    offset = middle + size * np.asarray(shift) - matrix @ middle
    affine = np.column_stack([matrix, offset])
    picture = np.ascontiguousarray(picture)
    return cv2.warpAffine(picture, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
