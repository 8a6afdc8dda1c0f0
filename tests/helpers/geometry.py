"""Affines and volumes that the tests of NIfTI and of grids share."""

import itertools

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LAS = np.diag([-0.625, 0.625, 0.625, 1.0])
ORIENTATIONS = [
    np.array(list(zip(axes, flips, strict=True)))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]


def counted(*shape, dtype=np.int16):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def affine_of(orientation, spacing_mm, tilt=0.0, origin_mm=(0, 0, 0)):
    """An affine of this orientation, turned a little about the x and the z axis."""
    affine = np.zeros((4, 4))
    for k, (axis, flip) in enumerate(orientation):
        affine[int(axis), k] = flip * spacing_mm[k]
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3], affine[3, 3] = origin_mm, 1
    return affine


oriented = st.sampled_from(ORIENTATIONS)
spacings = st.tuples(*[st.floats(0.3, 4)] * 3)
tilts = st.floats(-0.35, 0.35)
origins = st.tuples(*[st.floats(-150, 150)] * 3)
on_disk = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
