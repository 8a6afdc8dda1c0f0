"""The documentation: every command is one that the scripts take, every snippet runs."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from common.base.errors import UserError
from tests.helpers.scripts import PROJECTS, ROOT

README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*_*/README.md")])
KINDS = {"prepare_data": "prepare"}
SCRIPTS = ("prepare_data", "train", "evaluate", "predict")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for of, text in _BLOCK.findall(page.read_text()) if of == language]


def commands(page: Path) -> list[list[str]]:
    """The calls of Python and make on a page, as words; loops are taken apart."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    calls = [call for line in lines for call in re.split(r"&&|; ", line.split("   #")[0])]
    words = [shlex.split(call.strip()) for call in calls if re.match(r"\s*(python|make) ", call)]
    return [[word.replace("$k", "0") for word in of] for of in words]


def project_of(name: str):
    return importlib.import_module(f"{name}.config").PROJECT


COMMANDS = [(page, command) for page in PAGES for command in commands(page)]
RUN = ("your-own.md",)
"""Pages whose commands and snippets change the tree; a test of their own runs them in a copy."""
ELSEWHERE = [(page, command) for page, command in COMMANDS if page.name not in RUN]


def test_commands_are_found():
    assert len(COMMANDS) > 40
    assert {page.name for page, _ in COMMANDS} >= {"README.md", "guide.md", "your-own.md"}


@pytest.mark.parametrize(
    ("page", "command"), ELSEWHERE, ids=[f"{p.parent.name}-{' '.join(c)}" for p, c in ELSEWHERE]
)
def test_a_command_is_one_that_is_taken(page, command):
    assert_taken(page, command)


def assert_taken(page: Path, command: list[str]) -> None:
    """The script is there, and takes the settings; or the Makefile has the target."""
    from common.base.command_line import parse

    program, *words = command
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets)
        return
    if words[0] == "-m":
        assert find_spec(words[1]) is not None
        name, _, script = words[1].partition(".")
        if name in PROJECTS and script in SCRIPTS:
            parse(project_of(name), KINDS.get(script, script), "", words[2:])
        elif name in ("common", "data", *PROJECTS):
            assert_parsed(words[1], words[2:])
        return
    folder = page.parent if page.parent.name in PROJECTS else ROOT
    # The front page goes into a project's folder first.
    places = [folder / words[0], *(ROOT / project / words[0] for project in PROJECTS)]
    script = next(path for path in places if path.is_file())
    if script.parent.name in PROJECTS:
        parse(project_of(script.parent.name), KINDS.get(script.stem, script.stem), "", words[1:])


class Parsed(Exception):
    """The command line was taken; nothing more is run."""


def assert_parsed(module: str, words: list[str]) -> None:
    """A command's own parser takes the words; what it would do with them is not done."""
    from common.base.arguments import Parser
    from common.reporting.html_report import write_again

    def parse_alone(parser, *arguments, **options):
        parse_args(parser, *arguments, **options)
        raise Parsed

    parse_args, command = Parser.parse_args, importlib.import_module(module)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(Parser, "parse_args", parse_alone)
        patch.setattr("sys.argv", [module, *words])
        if hasattr(command, "main"):
            command.main()
        else:
            write_again(command.PROJECT, command.EvaluateSettings(), command.write_page)


def test_a_command_with_an_option_that_is_not_there_is_found():
    for module, *words in (["common.results", "--outptu", "a"], ["data.convert", "uamt"]):
        with pytest.raises(UserError, match=r"; --help shows how$"):
            assert_parsed(module, words)


@pytest.mark.parametrize("page", PAGES, ids=[f"{page.parent.name}-{page.name}" for page in PAGES])
def test_a_pages_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=[f"{page.parent.name}-{page.name}" for page in PAGES])
def test_a_page_names_files_and_tests_that_are_there(page):
    names = re.findall(r"`([\w./-]+)`", page.read_text())
    for path in (name for name in names if re.fullmatch(r"\w+/[\w./-]+\.(py|txt|md)", name)):
        assert (ROOT / path).is_file() or not (ROOT / path.split("/")[0]).is_dir(), path
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for name in (name.removesuffix("...") for name in names if re.match(r"test_\w+[.]*$", name)):
        assert f"def {name}" in tests, name


def test_the_demo_takes_as_long_as_its_presets_say():
    [measured] = re.findall(r"`make clean-demo demo` took (\d+) min", README)
    assert round(int(measured) / len(PROJECTS)) == 2
    for name in PROJECTS:
        assert "about two minutes" in project_of(name).presets["demo"].about
    settings = (ROOT / "common" / "base" / "settings.py").read_text()
    for text in (README, settings):
        assert re.search(r"SYNTHETIC sample\W+about two minutes", text)


def test_the_captions_name_the_networks_in_the_order_of_the_gif():
    from atrium_segmentation.networks import NETWORKS

    [caption] = re.findall(r"^\| (.* at the left, .* at the right.*?) \|", README, re.MULTILINE)
    models = project_of("atrium_segmentation").presets["demo"].train.models
    shown = [NETWORKS[name].title for name in NETWORKS if name in models]
    places = [caption.index(title) for title in shown]
    assert places == sorted(places)


def test_no_page_installs_a_decoder_that_breaks_off_the_process():
    for page in PAGES:
        assert not re.search(r"install\W+(the )?\W*python-gdcm", page.read_text()), page


NOT_PLAIN = r"""nothing\s+clever|\bmend(?!eley)|the\ most\ passes|\bbeside\b
    |\ba\ (row|file|picture|record|box)\ a\ \w+|CASES_A_|--moves|--averaging|--board-pictures"""


@pytest.mark.parametrize("page", PAGES, ids=[f"{page.parent.name}-{page.name}" for page in PAGES])
def test_a_page_is_in_plain_words_and_names_settings_as_they_are(page):
    assert not re.findall(NOT_PLAIN, page.read_text(), re.VERBOSE | re.IGNORECASE)


def test_every_picture_is_shown():
    text = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert f"pictures/{picture.name})" in text, picture.name


def test_twenty_questions_each_with_a_thread():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    questions = re.split(r"^\*\*\d+\. ", text, flags=re.MULTILINE)[1:]
    assert len(questions) == 20
    assert all("https://github.com/" in question for question in questions)


def test_snippets_run_in_their_order(tmp_path):
    for page in [page for page in PAGES if blocks(page, "python") and page.name not in RUN]:
        code = "\n".join(blocks(page, "python"))
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{page}: {done.stderr[-2000:]}"
