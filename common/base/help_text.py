"""``--help`` of a script, the settings that people use first, in groups; ``--help-all``, all."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import docstring_parser

from common.base.settings import Shared

HELP_ALL, VERBOSE = "--help-all", "--verbose"
CONFIG, PRINT_CONFIG = "--config", "--print-config"

GROUPS = {
    "data": (
        *("inputs", "source", "prepared", "ids", "patients", "layout", "label", "image_size"),
        *("validation_share", "test_share", "folds", "fold", "split", "check"),
    ),
    "model": ("weights", "models", "network"),
    "training": ("epochs", "batch_size", "learning_rate", "monitor", "patience", "seed"),
    "decision": ("sensitivity", "threshold", "flip", "ensemble"),
    "output": ("run", "output", "name", "pictures", "overwrite"),
    "machine": ("preset", "device", "precision", "workers"),
}
"""The settings that people use first."""

FURTHER = "further settings"
"""The group of all others."""

_FILES = (
    f"{VERBOSE} prints all before the script begins. {PRINT_CONFIG} prints a file for {CONFIG} "
    f"FILE, as in {PRINT_CONFIG} > run.toml, and ends; train.py takes an earlier run's config.json "
    "too. What the command line gives wins over the file, the file over the preset. A path in the "
    "file is relative to where the script is started, as on the command line."
)
_FILES_IN_SHORT = (
    f"{VERBOSE} prints all, {PRINT_CONFIG} a file for {CONFIG} FILE (paths from where you start "
    "the script)."
)

# Where a sentence ends.
_SENTENCE = re.compile(r"\.(?= [A-Z0-9])|\.$")
# Columns of a flag before its help.
_INDENT = 28


def help_text(settings: Shared, about: str, presets: Mapping[str, str], whole: bool) -> str:
    """The help of a script.

    Args:
        settings: With the defaults.
        about: What the script does, with examples.
        presets: What each is for.
        whole: Whether to show every setting and all that there is to say of it, else the first
            sentence of those of `GROUPS`.
    """
    helps = meanings(type(settings))
    if not whole:
        helps = {name: _SENTENCE.split(meaning, 1)[0] for name, meaning in helps.items()}
    kinds = typing.get_type_hints(type(settings))
    fields = {field.name: field for field in dataclasses.fields(settings)}
    groups = {
        title: [fields[name] for name in names if name in fields] for title, names in GROUPS.items()
    }
    first = {field.name for group in groups.values() for field in group}
    further = [field for name, field in fields.items() if name not in first]
    if whole:
        groups[FURTHER] = further
    words = "\n".join(_filled(f"--preset {name}: ", text) for name, text in presets.items())
    parts = [about.strip(), words, f"Defaults shown are those of --preset {settings.preset}."]
    for title, group in groups.items():
        entries = [
            _entry(field, kinds[field.name], getattr(settings, field.name), helps[field.name])
            for field in group
        ]
        parts += ["\n".join([title, *entries])] if entries else []
    more = f"{len(further)} further settings: {HELP_ALL}. {_FILES_IN_SHORT}"
    parts.append(_filled("", _FILES if whole else more))
    return "\n\n".join(parts)


def meanings(settings: type[Shared]) -> dict[str, str]:
    """What each setting is, from the docstrings of a class and its ancestors, in one line."""
    return {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for ancestor in reversed(settings.__mro__[:-1])
        for parameter in docstring_parser.parse_from_object(ancestor).params
    }


def in_words(value: Any) -> str:
    """The value of a setting, as one gives it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def flag_of(name: str, value: Any) -> str:
    """A setting as it is given on the command line."""
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{word}"
    return f"--{word} {in_words(value)}"


def _entry(field: dataclasses.Field[Any], kind: Any, value: Any, meaning: str) -> str:
    """A setting: its flag and what it takes, its meaning, its default."""
    word = field.name.replace("_", "-")
    positional = field.metadata.get("positional")
    takes = _takes(field, kind)
    flag = str(positional) if positional else f"--{word} {takes}"
    if kind is bool:
        flag = f"--{word}, --no-{word}"
    default = "" if value is None or positional else f" (default: {in_words(value) or 'none'})"
    head = f"  {flag}".ljust(_INDENT)
    return _filled(head if len(head) == _INDENT else f"{head}\n{' ' * _INDENT}", meaning + default)


def _filled(head: str, text: str) -> str:
    """A text in the lines of the terminal, after a head, its further lines below `_INDENT`."""
    width = min(shutil.get_terminal_size().columns, 100)
    first = head.rsplit("\n", 1)[-1]
    blank = " " * (_INDENT if first.startswith(" ") else 4)
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=blank)
    return head.removesuffix(first) + "\n".join(lines)


def _takes(field: dataclasses.Field[Any], kind: Any) -> str:
    """What a setting takes, in capitals, or its choices."""
    choices = field.metadata.get("choices")
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is Literal:
        choices = parts
    several = " ..." if typing.get_origin(kind) is tuple else ""
    if choices:
        return "{" + ",".join(map(str, choices)) + "}" + several
    kinds = {int: "N", float: "X", Path: "PATH"}
    return next((kinds[part] for part in (kind, *parts) if part in kinds), "TEXT") + several
