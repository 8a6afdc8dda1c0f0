"""The environment that requirements.txt makes, and what the Makefile does with it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers import needs

ROOT = Path(__file__).resolve().parents[1]
NAMED = {
    "tensorflow",
    "pydicom",
    "nibabel",
    "augmentor",
    "imgaug",
    "tf-explain",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "imageio",
}


def requirement_lines(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


def run_python(code: str) -> subprocess.CompletedProcess:
    """Run ``code`` outside the repository, in an interpreter that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=300
    )


# --- requirements.txt -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_or_a_folder_of_this_repository(name):
    for line in requirement_lines(name):
        folder = line.removeprefix("-e ").partition("[")[0]
        assert re.fullmatch(r"[\w-]+==[\w.]+", line) or (
            folder.startswith(".") and (ROOT / folder / "pyproject.toml").is_file()
        ), line


def test_the_named_packages_are_required():
    required = {line.split("==")[0].lower() for line in requirement_lines("requirements.txt")}
    assert required >= NAMED


def test_the_licences_of_a_wheel_of_many_libraries_are_listed():
    page = (ROOT / "docs/licences.md").read_text()
    named = set(re.findall(r"`([\w-]+)`", page))
    version = metadata.version("imagecodecs")
    assert f"## imagecodecs {version}:" in page
    files = metadata.files("imagecodecs")
    licences = {file.name for file in files if file.parent.name == "licenses"} - {"LICENSE"}
    assert len(licences) > 50
    assert not {
        name for name in licences if {name, name.removeprefix("LICENSE-")}.isdisjoint(named)
    }


def test_no_requirement_is_missing_or_in_conflict():
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# --- the shields ----------------------------------------------------------------------------------


@pytest.mark.slow
@needs.machine(Path("/proc/self/maps").exists(), "reads Linux's list of libraries")
def test_nothing_that_draws_windows_is_loaded():
    done = run_python(
        "import cv2, imgaug, Augmentor, tf_explain\n"
        "from pathlib import Path\n"
        "print(Path('/proc/self/maps').read_text())"
    )
    assert done.returncode == 0, done.stderr
    assert "cv2" in done.stdout
    assert not re.findall(r"lib(?:GL|EGL|X11|Qt)[\w.-]*\.so\S*", done.stdout)


def test_opencv_python_is_the_shield_with_the_version_of_the_headless_wheel():
    headless = metadata.version("opencv-python-headless")
    assert metadata.version("opencv-python") == headless
    assert metadata.requires("opencv-python") == [f"opencv-python-headless=={headless}"]
    assert not [file for file in metadata.files("opencv-python") if file.suffix == ".so"]


def test_a_bare_import_of_imgaug_works_on_numpy_2():
    done = run_python("import imgaug, numpy; print(numpy.__version__)")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) >= 2


def test_the_shield_waits_for_imgaug_and_then_goes():
    done = run_python(
        "import sys\n"
        "def waiting(): return any(type(f).__module__ == 'imgaug_numpy2' for f in sys.meta_path)\n"
        "print(waiting(), 'numpy' in sys.modules)\n"
        "import numpy\n"
        "print(waiting(), hasattr(numpy, 'sctypes'))\n"
        "import imgaug\n"
        "print(waiting(), hasattr(numpy, 'sctypes'))\n"
    )
    assert done.stdout.split("\n")[:3] == ["True False", "True False", "False True"], done.stderr


def test_the_shield_costs_less_than_a_millisecond_at_start():
    def microseconds() -> int:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", ""], capture_output=True, text=True
        )
        return int(re.search(r"\|\s*(\d+) \|\s+imgaug_numpy2", done.stderr)[1])

    assert min(microseconds() for _ in range(5)) < 1000


def test_imgaug_moves_a_box_with_its_image():
    import imgaug.augmenters as iaa
    import numpy as np
    from imgaug.augmentables.bbs import BoundingBox, BoundingBoxesOnImage

    image = np.zeros((64, 96), np.uint8)
    image[20:40, 30:60] = 200
    boxes = BoundingBoxesOnImage([BoundingBox(x1=30, y1=20, x2=60, y2=40)], shape=image.shape)

    shifted, moved = iaa.Affine(translate_px={"x": 11, "y": -7})(image=image, bounding_boxes=boxes)

    expected = np.zeros_like(image)
    expected[13:33, 41:71] = 200
    np.testing.assert_array_equal(shifted, expected)
    np.testing.assert_array_equal(moved.to_xyxy_array(), [[41, 13, 71, 33]])


@pytest.mark.parametrize("name", ["Affine", "Fliplr", "Multiply", "LinearContrast"])
@pytest.mark.parametrize("chosen_by", [None, "SomeOf", "OneOf"])
@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 3)])
def test_imgaug_augments_images_boxes_and_keypoints(name, chosen_by, shape):
    import imgaug.augmenters as iaa
    import numpy as np
    from imgaug.augmentables.bbs import BoundingBox, BoundingBoxesOnImage
    from imgaug.augmentables.kps import Keypoint, KeypointsOnImage

    settings = {"Affine": {"scale": (0.9, 1.1)}, "Fliplr": {"p": 1.0}}.get(name, {})
    augmenter = getattr(iaa, name)(**settings)
    if chosen_by == "SomeOf":
        augmenter = iaa.SomeOf((1, 2), [augmenter, iaa.Multiply(1.1)])
    elif chosen_by == "OneOf":
        augmenter = iaa.OneOf([augmenter])
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    boxes = BoundingBoxesOnImage([BoundingBox(x1=30, y1=20, x2=60, y2=40)], shape=shape)
    keypoints = KeypointsOnImage([Keypoint(x=30, y=20)], shape=shape)

    new_image, new_boxes, new_keypoints = augmenter(
        image=image, bounding_boxes=boxes, keypoints=keypoints
    )

    assert (new_image.dtype, new_image.shape) == (np.uint8, shape)
    assert len(new_boxes) == len(new_keypoints) == 1


@pytest.mark.slow
def test_the_shields_hold_nothing_else(tmp_path):
    for folder, files in [
        (ROOT / "third_party/opencv-python", set()),
        (ROOT, {"imgaug_numpy2.pth", "imgaug_numpy2.py"}),
    ]:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, folder], check=True
        )
        name = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]
        (wheel,) = tmp_path.glob(f"{name.replace('-', '_')}-*.whl")
        held = zipfile.ZipFile(wheel).namelist()
        assert {file for file in held if "/" not in file} == files
        packages = {file.partition("/")[0] for file in held if "/" in file}
        assert all(name.endswith(".dist-info") or (ROOT / name).is_dir() for name in packages)


# --- the Makefile ---------------------------------------------------------------------------------

PROJECTS = ["pneumonia_classification", "heart_detection", "atrium_segmentation"]

# Stands for every script: notes that it was called, and writes the file that ends its step.
STUB = """
import sys
from pathlib import Path
step, arguments = Path(sys.argv[0]).stem, sys.argv[1:]
with open("calls", "a") as calls:
    print(Path(sys.argv[0]).parent, step, file=calls)
written = {
    "prepare_data": ("--prepared", "manifest.json"),
    "train": ("--run", "fitted.json"),
    "evaluate": ("--run", "evaluation/test/metrics.json"),
}
option, name = written[step]
file = Path(arguments[arguments.index(option) + 1]) / name
file.parent.mkdir(parents=True, exist_ok=True)
if not Path("broken").exists():
    file.touch()
elif step == "train":
    (file.parent / "checkpoint").touch()
    sys.exit(1)
if not sys.argv:
    import IMPORTED
"""

# What the stand-in of a script names as its imports.
IMPORTED = {
    "prepare_data": "PROJECT.config, common.records.shards, data.synthetic",
    "train": "PROJECT.config, common.records.shards, common.training.losses",
    "evaluate": "PROJECT.config, common.records.shards, common.scores.boxes",
}
ROOMS = ["base", "records", "training", "scores"]


class Checkout:
    """A copy of the Makefile among scripts that do nothing, with an environment that is ready."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for project in PROJECTS:
            for name in ["__init__", "config"]:
                self.write(f"{project}/{name}.py")
            for step, names in IMPORTED.items():
                stub = STUB.replace("IMPORTED", names.replace("PROJECT", project))
                self.write(f"{project}/{step}.py", stub)
        for package in ["data", "common", *(f"common/{room}" for room in ROOMS)]:
            self.write(f"{package}/__init__.py")
        for name in ["records/shards", "training/losses", "scores/boxes"]:
            self.write(f"common/{name}.py")
        (folder / "tools").mkdir()
        shutil.copy(ROOT / "tools/imports.py", folder / "tools")
        self.write("common/results.py", "print('the table')")
        self.write("data/synthetic.py")
        for name in ["requirements.txt", "pyproject.toml"]:
            self.write(name)
        (folder / ".venv/bin").mkdir(parents=True)
        (folder / ".venv/bin/python").symlink_to(sys.executable)
        self.write(".venv/bin/pip")
        self.write(".venv/.installed")

    def write(self, name: str, text: str = ""):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        # A make that runs these tests must not hand its own options on to this one.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        for name in ["MFLAGS", "PYTHON", "VENV", "PYTEST_ARGS"]:
            kept.pop(name, None)
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=kept, capture_output=True, text=True
        )

    def demo(self) -> list[str]:
        """Run ``make demo`` and return the scripts that it called since the last time."""
        (self.folder / "calls").unlink(missing_ok=True)
        done = self.make("demo")
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("the table\n")
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def touch(self, name: str):
        """Give the file a time after everything that is there."""
        later = max(path.stat().st_mtime for path in self.folder.rglob("*")) + 0.01
        os.utime(self.folder / name, (later, later))


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    needs.program("make")
    return Checkout(tmp_path)


STEPS = ["prepare_data", "train", "evaluate"]


@pytest.mark.damaged
def test_demo_takes_each_project_through_its_steps_and_then_rests(checkout):
    assert checkout.demo() == [f"{project} {step}" for project in PROJECTS for step in STEPS]
    assert checkout.demo() == []


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("changed", "repeated"),
    [
        ("data/synthetic.py", [f"{project} {step}" for project in PROJECTS for step in STEPS]),
        (
            "common/records/shards.py",
            [f"{project} {step}" for project in PROJECTS for step in STEPS],
        ),
        (
            "common/training/losses.py",
            [f"{project} {step}" for project in PROJECTS for step in STEPS[1:]],
        ),
        ("common/scores/boxes.py", [f"{project} evaluate" for project in PROJECTS]),
        ("heart_detection/config.py", [f"heart_detection {step}" for step in STEPS]),
        ("heart_detection/train.py", ["heart_detection train", "heart_detection evaluate"]),
        ("heart_detection/evaluate.py", ["heart_detection evaluate"]),
        ("common/results.py", []),
    ],
)
def test_demo_repeats_only_what_a_change_asks_for(checkout, changed, repeated):
    checkout.demo()
    checkout.touch(changed)
    assert checkout.demo() == repeated
    assert checkout.demo() == []


@pytest.mark.damaged
def test_demo_goes_on_with_a_broken_run_and_clears_away_an_ended_one(checkout):
    run = checkout.folder / "runs/SYNTHETIC-demo/pneumonia_classification"
    checkout.write("broken")
    assert checkout.make("demo").returncode != 0
    (checkout.folder / "broken").unlink()
    checkout.demo()
    assert (run / "checkpoint").exists()
    checkout.touch("pneumonia_classification/train.py")
    checkout.demo()
    assert not (run / "checkpoint").exists()


def test_make_alone_lists_the_targets(checkout):
    listed = checkout.make().stdout
    for target in ["install", "demo", "test", "test-all", "lint", "types", "bench", "clean-demo"]:
        assert f"make {target} " in listed


def test_all_tests_are_the_fast_the_slow_and_those_in_an_environment_with_torch(checkout):
    checkout.write(".venv/.installed-dev")
    checkout.write("requirements-dev.txt")
    checkout.write("benchmarks/requirements.txt")
    checkout.touch(".venv/.installed")
    checkout.touch(".venv/.installed-dev")
    printed = checkout.make("--dry-run", "test-all").stdout
    runs = re.findall('"(.*)/bin/python" -m pytest', printed)
    assert runs == [".venv", ".venv", ".venv-torch"]
    assert re.findall(" -m (slow|torch)", printed)[-2:] == ["slow", "torch"]
    assert "-r benchmarks/requirements.txt" in printed


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "no 'python9' here: apt install python3 python3-venv"),
        ('case "$*" in *version*) echo "Python 3.9.1"; exit 1;; esac', "is Python 3.9.1, needed"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
    ],
    ids=["missing", "too old", "without venv"],
)
def test_an_unfit_python_is_named_before_anything_is_made(checkout, script, message):
    shutil.rmtree(checkout.folder / ".venv")
    python = "python9"
    if script:
        checkout.write(python, f"#!/bin/sh\n{script}\n")
        (checkout.folder / python).chmod(0o755)
        python = str(checkout.folder / python)
    for target in ["install", "demo"]:
        done = checkout.make(target, f"PYTHON={python}")
        assert done.returncode == 2
        assert message in done.stderr
        assert not (checkout.folder / ".venv").exists()
