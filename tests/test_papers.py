"""CITATION.cff, CHANGELOG.md, CONTRIBUTING.md, what is in .github/, and the address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.helpers import needs
from tests.helpers.scripts import PROJECTS, ROOT
from tools.write_address import address_of, files_with_address, with_address

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = (ROOT / "CITATION.cff").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WORKFLOW = (ROOT / ".github/workflows/checks.yml").read_text()

# ---- Against the schemas of those who read them


def faults(schema: str, *files) -> str:
    """What check-jsonschema says of files against a schema that it brings along."""
    needs.package("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize(
    ("schema", "files", "break_it"),
    [
        ("citation-file-format", [ROOT / "CITATION.cff"], ("authors:", "writers:")),
        ("github-workflows", [ROOT / ".github/workflows/checks.yml"], ("runs-on:", "runs-at:")),
        (
            "github-issue-forms",
            [form for form in FORMS if form.name != "config.yml"],
            ("type: textarea", "type: area"),
        ),
        (
            "github-issue-config",
            [form for form in FORMS if form.name == "config.yml"],
            ("true", "perhaps"),
        ),
    ],
)
def test_a_file_is_as_its_schema_says(schema, files, break_it, tmp_path):
    assert files and faults(schema, *files) == ""
    broken = tmp_path / files[0].name
    broken.write_text(files[0].read_text().replace(*break_it))
    assert faults(schema, broken)


# ---- The same in all


def test_the_citation_is_of_this_package():
    fields = dict(re.findall(r"^([\w-]+): (.+)$", CITATION, re.MULTILINE))
    assert (fields["version"], fields["license"]) == (PYPROJECT["version"], PYPROJECT["license"])
    # Nobody is named whom nobody has named.
    authors = CITATION.partition("\nauthors:\n")[2].partition("\nversion:")[0]
    assert authors == f"  - name: The authors of {PYPROJECT['name']}"


def test_the_workflow_runs_the_targets_on_every_python():
    low, high = map(
        int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PYPROJECT["requires-python"]).groups()
    )
    pythons = re.search(r"^ +python: \[(.*)\]$", WORKFLOW, re.MULTILINE)[1]
    assert pythons == ", ".join(f'"3.{minor}"' for minor in range(low, high))
    runs = re.findall(r"- run: (.*)", WORKFLOW)
    targets = [run for run in runs if "apt-get install" not in run]
    assert sorted(targets) == ["make docs", "make lint", "make test", "make types"]


def test_a_form_into_which_output_is_pasted_warns_of_patients():
    for form in FORMS:
        text = form.read_text()
        assert ("render: text" in text) == ("Attach nothing of a patient" in text), form.name


def test_the_changelog_has_the_version_and_the_kinds_of_keep_a_changelog():
    kinds = re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)
    known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    releases = re.findall(r"^## \[(.*?)\](?: - \d{4}-\d\d-\d\d)?$", CHANGELOG, re.MULTILINE)
    assert releases[0] == "Unreleased" and len(releases) == len(
        re.findall("^## ", CHANGELOG, re.MULTILINE)
    )
    assert set(kinds) <= set(known)
    for part in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        order = [known.index(kind) for kind in re.findall(r"^### (.*)$", part, re.MULTILINE)]
        assert order == sorted(set(order))


def test_the_page_of_contributors_names_every_file_that_all_projects_have():
    names = [{path.name for path in (ROOT / name).glob("*.*")} for name in PROJECTS]
    table = CONTRIBUTING.partition("## Add a project")[2]
    in_table = set(re.findall(r"`([\w.]+\.\w+)`", "".join(re.findall(r"^\| `.* \|$", table, re.M))))
    assert in_table == set.intersection(*names) - {"__init__.py"}


# ---- The address


def test_the_address_is_in_no_file_but_by_the_tool():
    for file in files_with_address(ROOT):
        text = file.read_text()
        assert with_address(file.name, text, address_of(ROOT)) == text, "tools/write_address.py"


def test_an_address_comes_from_pyproject_and_goes_again(tmp_path):
    for file in (ROOT / "pyproject.toml", *files_with_address(ROOT)):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(file, copy)
    address = "https://example.org/keras-medical-imaging"
    with open(tmp_path / "pyproject.toml", "a") as file:
        file.write(f'\n[project.urls]\nRepository = "{address}"\n')
    assert address_of(tmp_path) == address
    for file in files_with_address(tmp_path):
        text = file.read_text()
        with_it = with_address(file.name, text, address)
        assert with_it.count(address) == 1
        assert with_address(file.name, with_it, address) == with_it
        assert with_address(file.name, with_it, "") == text


def test_a_citation_with_an_address_is_as_its_schema_says(tmp_path):
    address = "https://example.org/keras-medical-imaging"
    citation = with_address("CITATION.cff", CITATION, address)
    assert f"\nrepository-code: {address}\n" in citation
    (tmp_path / "CITATION.cff").write_text(citation)
    assert faults("citation-file-format", tmp_path / "CITATION.cff") == ""
