"""A detector of odd films: what was done to a film is found, and an untouched one is let pass."""

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage
from skimage import data

from common.base.errors import UserError
from common.imaging import film_doubts
from common.imaging.detectors import tail_threshold
from common.imaging.film_doubts import SCORES, fit_detector, look_over, read_detector
from common.imaging.film_looks import FLIPS, INVERTED, SIDE, in_poses, look_at, look_numbers
from common.imaging.films import read_film
from synthetic_sample.chest_dataset import draw_case, plan_cases

SIZE = 128


@pytest.fixture(scope="module")
def films(samples):
    """Of the 60 films of the small sample each square and its patient."""
    paths = sorted(samples["heart_detection"].glob("stage_2_train_images/*"))
    pixels = [read_film(path).pixels for path in paths]
    squares = [cv2.resize(p, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in pixels]
    return squares, [dcmread(path, stop_before_pixels=True).PatientID for path in paths]


@pytest.fixture(scope="module")
def more_films():
    """Of 90 films of the sample each square and its patient."""
    cases = plan_cases(3, 90)
    squares = [
        cv2.resize(draw_case(case)[1].image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for case in cases
    ]
    return [*map(as_bytes, squares)], [str(case.patient_number) for case in cases]


def as_bytes(image):
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def parts(more_films):
    """A detector of the films of two thirds of the patients, and the other films."""
    squares, patients = more_films
    unseen = [int(patient) % 3 == 0 for patient in patients]
    known = [i for i, other in enumerate(unseen) if not other]
    looks = [look_at(squares[i]) for i in known]
    detector = fit_detector(looks, [patients[i] for i in known], seed=0)
    return detector, [square for square, other in zip(squares, unseen, strict=True) if other]


def narrowed(square):
    """A film of four fifths of its width, in the middle of a black square."""
    narrow = cv2.resize(square, (SIZE * 4 // 5, SIZE), interpolation=cv2.INTER_AREA)
    empty = SIZE - narrow.shape[1]
    return np.pad(narrow, ((0, 0), (empty // 2, empty - empty // 2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name", "least"),
    [
        (lambda square: np.rot90(square), "turned", 0.99),
        (lambda square: square[::-1, ::-1], "turned", 0.99),
        (lambda square: square[::-1], "turned", 0.99),
        (lambda square: 255 - square, "inverted", 0.99),
        (lambda square: ndimage.rotate(square, 15, reshape=False, order=1), "tilt", 0.8),
        (lambda square: ndimage.rotate(square, -15, reshape=False, order=1), "tilt", 0.8),
        (narrowed, "bars", 0.99),
    ],
)
def test_what_was_done_to_a_film_is_found(parts, change, name, least):
    detector, squares = parts
    doubts = detector.doubts([look_at(np.ascontiguousarray(change(s))) for s in squares])
    assert np.mean([SCORES[name] in doubt for doubt in doubts]) >= least


@pytest.mark.slow
def test_untouched_films_of_other_patients_are_let_pass(parts):
    detector, squares = parts
    assert len(squares) >= 25
    doubts = detector.doubts([look_at(square) for square in squares])
    assert sum(map(bool, doubts)) <= 2, doubts


@pytest.mark.slow
def test_what_is_no_film_is_unlike_them(parts):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    half = parts[1][0].copy()
    half[: SIZE // 2] = 0
    pictures = [noise, half, *(cv2.resize(p, (SIZE, SIZE)) for p in (data.camera(), data.page()))]
    assert all(parts[0].doubts([look_at(picture) for picture in pictures]))


def test_a_set_is_looked_over_by_models_of_other_patients(films):
    squares, patients = [*films[0]], films[1]
    squares[5], squares[40] = np.rot90(squares[5]).copy(), 255 - squares[40]
    doubts = look_over([look_at(square) for square in squares], patients, seed=0)
    assert SCORES["turned"] in doubts[5] and SCORES["inverted"] in doubts[40]
    assert sum(map(bool, doubts)) <= 2 + 3, doubts


def test_a_detector_is_kept(films, tmp_path):
    squares, patients = films
    looks = [look_at(square) for square in squares]
    detector = fit_detector(looks, patients, seed=0)
    file = tmp_path / "film_doubts.npz"
    assert read_detector(file) is None
    detector.write(file)
    kept = read_detector(file)
    scores = kept.models.scores(looks[:9])
    np.testing.assert_allclose(scores, detector.models.scores(looks[:9]), rtol=1e-3, atol=1e-3)
    with np.load(file) as stored:
        newer = {**stored, "version": stored["version"] + 1}
    np.savez(file, **newer)
    assert read_detector(file) is None
    file.write_bytes(b"no archive")
    with pytest.raises(UserError, match="damaged"):
        read_detector(file)


def test_films_of_a_single_patient_are_looked_over(films):
    doubts = look_over([look_at(square) for square in films[0]], ["A"] * 60, seed=0)
    assert sum(map(bool, doubts)) <= 3, doubts


def test_few_films_say_nothing(films):
    squares, patients = films
    few = [look_at(square) for square in squares[:49]]
    assert fit_detector(few, patients[:49], 0) is None
    assert look_over(few, patients[:49], 0) == [""] * 49


def test_shares_of_right_films_that_may_be_doubted_are_2_percent():
    assert sum(film_doubts._SHARES.values()) <= 0.02
    scores = np.random.default_rng(0).exponential(size=20_000)
    # Of an exponential the tail is exact: P(X > -log(share)) = share.
    assert tail_threshold(scores, 0.004) == pytest.approx(-np.log(0.004), rel=0.05)


def test_numbers_tell_no_brightness(films):
    square = films[0][0] // 2 + 20
    bright = look_at(square + 80).picture
    np.testing.assert_allclose(
        look_numbers(look_at(square).picture), look_numbers(bright), atol=2e-3
    )


def test_the_numbers_of_a_flipped_film_are_those_of_the_film_in_another_order():
    film = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    film[:5] = film[:, -2:] = 0  # bars
    for (order, poses), rows in zip(FLIPS, (1, -1), strict=True):
        for pose, posed in in_poses(film):
            flipped = posed[::rows, ::-1]
            assert np.allclose(look_numbers(flipped), look_numbers(posed)[order], atol=1e-5)
            of_flipped = [p for p, other in in_poses(film) if np.array_equal(other, flipped)]
            assert of_flipped == [poses[pose]] or pose == poses[pose] == INVERTED
