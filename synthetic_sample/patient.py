"""Who is filmed and how: the numbers of one patient, and those of one film's pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Patient:
    """What the films of one patient share; lengths in cm, factors around 1."""

    seed: int
    female: bool
    age: int
    width: float
    height: float
    fat: float
    heart_width: float
    heart_height: float
    heart_tilt_deg: float
    heart_shift: float
    knob: float
    scoliosis: float
    rib_slope: float
    breast: float


@dataclass(frozen=True)
class Pose:
    """How one film is taken.

    Attributes:
        view: ``PA`` or ``AP``.
        field_cm: Edge of the square field at the patient.
        shift_cm: The field's middle on the patient, (x, y).
        angle_deg: Turn in the image plane.
        turn_deg: Turn about the body's axis.
        breath: How far the diaphragm is lower than usual, in cm.
        magnification: Of the heart, which is far from the detector in AP.
        scatter: Scattered radiation as a share of the mean primary.
        arms_down: Whether the arms lie along the body.
    """

    view: str
    field_cm: float
    shift_cm: tuple[float, float]
    angle_deg: float
    turn_deg: float
    breath: float
    magnification: float
    scatter: float
    arms_down: bool


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw the numbers of one patient."""
    female = bool(rng.random() < 0.45)
    age = int(np.clip(rng.normal(52, 17), 18, 92))
    return Patient(
        seed=int(rng.integers(2**31)),
        female=female,
        age=age,
        width=float(rng.normal(0.95 if female else 1.0, 0.035)),
        height=float(rng.normal(0.96 if female else 1.0, 0.05)),
        fat=float(np.clip(rng.gamma(2.2, 0.45), 0.1, 3.2)),
        heart_width=float(np.clip(rng.normal(1.0, 0.10), 0.78, 1.3)),
        heart_height=float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.2)),
        heart_tilt_deg=float(rng.normal(0, 7)),
        heart_shift=float(rng.normal(0, 0.35)),
        knob=float(np.clip(rng.normal(1.75 + 0.01 * (age - 50), 0.25), 1.2, 2.6)),
        scoliosis=float(rng.normal(0, 0.35)),
        rib_slope=float(rng.normal(1.0, 0.15)),
        breast=float(rng.uniform(0.4, 1.25)) if female else 0.0,
    )


def draw_pose(rng: np.random.Generator, view: str) -> Pose:
    """Draw how one film is taken: ``PA`` standing and breathed in, ``AP`` mostly in bed."""
    bed = view == "AP"
    return Pose(
        view=view,
        field_cm=float(rng.uniform(32.5, 37.5)),
        shift_cm=(float(rng.normal(0, 0.7)), float(rng.normal(0.2, 0.9))),
        angle_deg=float(rng.normal(0, 2.6 if bed else 1.3)),
        turn_deg=float(rng.normal(0, 4.5 if bed else 2.5)),
        breath=float(rng.normal(-1.5 if bed else 0.0, 0.8)),
        magnification=1.13 if bed else 1.0,
        scatter=float(rng.uniform(0.5, 1.0) if bed else rng.uniform(0.25, 0.6)),
        arms_down=bool(rng.random() < (0.8 if bed else 0.35)),
    )
