"""What requirements.txt, pyproject.toml and the locks ask for: the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers.scripts import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def project_of(folder: str) -> dict:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


LINES = re.findall(r"^[^#\s]\S*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
SHIELDS = {line: project_of(line) for line in LINES if line.startswith("./")}


def test_a_wheel_asks_for_what_requirements_txt_asks_for():
    pins = {line for line in LINES if "==" in line}
    for shield in SHIELDS.values():
        # A shield stands for what it installs.
        pins -= set(shield["dependencies"])
        pins.add(f"{shield['name']}=={shield['version']}")
    assert len(pins) > 20
    assert set(PROJECT["project"]["dependencies"]) == pins


def test_uv_takes_the_shields_from_the_folders_that_requirements_txt_names():
    sources = {name: f"./{of['path']}" for name, of in PROJECT["tool"]["uv"]["sources"].items()}
    assert sources == {shield["name"]: folder for folder, shield in SHIELDS.items()}


def test_a_wheel_names_no_place_of_one_machine():
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked_for = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    assert not {line for line in asked_for if Requirement(line).url}


def test_cuda_is_for_the_tensorflow_that_is_pinned():
    (cuda,) = map(Requirement, PROJECT["project"]["optional-dependencies"]["cuda"])
    assert f"{cuda.name}{cuda.specifier}" in LINES


def test_the_file_for_cpus_is_the_other_one_with_another_tensorflow():
    shield = project_of("third_party/tensorflow")
    pin = f"{shield['name']}=={shield['version']}"
    assert pin in LINES and shield["dependencies"] == [pin.replace("tensorflow", "tensorflow-cpu")]
    text = (ROOT / "requirements-cpu.txt").read_text()
    asked_for = re.findall(r"^[^#\s].*", text, re.MULTILINE)
    assert asked_for == ["./third_party/tensorflow", "-r requirements.txt"]


@pytest.mark.slow
def test_an_environment_of_the_file_for_cpus_is_whole(tmp_path):
    python = tmp_path / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    for words in (["install", "-q", "-r", "requirements-cpu.txt"], ["check"]):
        subprocess.run([python, "-m", "pip", *words], cwd=ROOT, check=True)
    code = (
        "import common, imgaug, tensorflow as tf, tf_explain\n"
        "assert not tf.test.is_built_with_cuda()\n"
        "print(tf.__version__, tf.reduce_sum(tf.ones(3)).numpy())"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [project_of("third_party/tensorflow")["version"], "3.0"]


# --- the locks ------------------------------------------------------------------------------------

LOCKS = ("requirements.lock", "requirements-cuda.lock")
MACHINES = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def locked(name: str) -> list[tuple[Requirement, str]]:
    """The pins of a lock, each with the text of its hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    entries = (entry.partition(" \\\n") for entry in re.split(r"\n(?=\S)", text.strip()))
    return [(Requirement(pin), hashes) for pin, _, hashes in entries]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_path(lock):
    assert not re.findall("http|file:|/", (ROOT / lock).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_each_package_with_hashes(lock):
    for pin, hashes in locked(lock):
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
        assert re.fullmatch(r"( {4}--hash=sha256:[0-9a-f]{64}( \\\n)?)+", hashes), pin


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(("system", "machine"), MACHINES)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_one_version_of_all_that_is_asked_for(lock, system, machine, python):
    place = {
        "sys_platform": system,
        "platform_machine": machine,
        "python_full_version": f"{python}.0",
    }
    pins = [pin for pin, _ in locked(lock) if not pin.marker or pin.marker.evaluate(place)]
    versions = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}
    assert len(versions) == len(pins)
    asked_for = [*map(Requirement, PROJECT["project"]["dependencies"])]
    for shield in SHIELDS.values():
        asked_for = [pin for pin in asked_for if pin.name != shield["name"]]
        asked_for += map(Requirement, shield["dependencies"])
    for pin in asked_for:
        assert versions[canonicalize_name(pin.name)] == str(pin.specifier), "run make lock"
    has_cuda = any(name.startswith("nvidia-cudnn") for name in versions)
    assert has_cuda == (lock == "requirements-cuda.lock" and system == "linux")
