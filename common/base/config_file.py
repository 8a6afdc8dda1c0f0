"""Settings from a file: what ``--print-config`` prints for ``--config``, or a run's config.json.

A file of settings is the command line written down, as TOML: ``batch_size = 8`` is ``--batch-size
8``, and a path means what it means there. It says what is given. All else is the preset's and
stands in comments, so that what a script fits to its data is fitted for a file too.

The lines are written here, since the TOML writers of PyPI write no comments, and a setting is no
more than a word, a number, true or false, or a list of these.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.base.errors import UserError
from common.base.files import decoded, read_json
from common.base.settings import Shared, SharedTrain, current_names

FROM_RUN = ("prepared", "weights")
"""The settings of train.py that config.json has as paths from the run, where they are paths."""


def config_text(settings: Shared, given: Collection[str], script: str) -> str:
    """Settings as the text of a file that `config_arguments` reads.

    Args:
        settings: Every value, and the preset's name.
        given: The names of those that were given; the others stand in comments.
        script: The script that takes the file, as one calls it.
    """
    lines = [
        f"# python {script} --config FILE",
        f"# In comments is what --preset {settings.preset} gives: to set it, take the # away.",
        "# A path is relative to the folder in which the script is started.",
    ]
    for name, value in vars(settings).items():
        is_set = value is not None and (name == "preset" or name in given)
        mark = "" if is_set else "# "
        lines.append(f"{mark}{name} = {_as_toml(value)}".rstrip())
    return "\n".join(lines) + "\n"


def config_arguments(path: Path, settings: type[Shared], project: str = "") -> list[str]:
    """A file of settings, or a run's config.json, as words of a command line.

    Args:
        path: The file; what ends in ``.json`` is a run's.
        settings: The class of the settings.
        project: Whose run it has to be; any if not given.

    Raises:
        UserError: There is no such file, it is no file of settings, a setting is unknown, or a
            value is of no kind that the setting takes.
    """
    is_run = path.suffix == ".json"
    wanted = "a file, such as a run's config.json"
    values = _of_run(path, settings, project) if is_run else read_toml(path, wanted)
    names = {name.replace("-", "_"): value for name, value in values.items()}
    current = current_names(settings, names)
    if len(current) < len(values):
        raise UserError(f"{path}: gives a setting twice, under two of its names")
    return _words(path, settings, current)


def read_toml(path: Path, wanted: str) -> dict[str, Any]:
    """The entries of a TOML file.

    Args:
        path: The file.
        wanted: What to name in place of a folder, in words.

    Raises:
        UserError: There is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(decoded(path.read_bytes())[0])
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name {wanted}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not readable as TOML ({error})") from None


def _of_run(path: Path, settings: type[Shared], project: str) -> dict[str, Any]:
    """The settings of a run for another; one that is newer than the run has its default.

    Its paths are kept in part, so that they tell no machine, and whole from the run.
    """
    content = read_json(path)
    stored = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(stored, dict):
        raise UserError(f"{path}: is no config.json of a run, which has settings")
    if not issubclass(settings, SharedTrain):
        raise UserError(
            f"{path}: has settings of train.py; this script takes its own --print-config"
        )
    if project and content.get("project") != project:
        raise UserError(f"{path}: is of a run of {content.get('project')}, not of {project}")
    before = {field.name: field.default for field in dataclasses.fields(settings)}
    values = before | current_names(settings, stored) | {"run": None}
    for name in FROM_RUN:
        if name in content:
            values[name] = os.path.normpath(path.resolve().parent / content[name])
    return {name: value for name, value in values.items() if value is not None}


def _words(path: Path, settings: type[Shared], values: Mapping[str, Any]) -> list[str]:
    """Settings as words of a command line, what has no flag first."""
    fields = {field.name: field for field in dataclasses.fields(settings)}
    kinds = typing.get_type_hints(settings)
    first: list[str] = []
    words: list[str] = []
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"did you mean {near[0]}?" if near else "--help-all shows every setting"
            raise UserError(f"{path}: there is no setting {name}; {hint}")
        several = typing.get_origin(kinds[name]) is tuple
        entries = value if isinstance(value, list | tuple) else [value]
        is_switch = kinds[name] is bool
        wanted = "a list" if several else "true or false" if is_switch else "a number or a word"
        if several != isinstance(value, list | tuple) or not all(
            isinstance(entry, str | int | float) and isinstance(entry, bool) == is_switch
            for entry in entries
        ):
            raise UserError(f"{path}: {name} takes {wanted}. Received: {value}")
        flag = name.replace("_", "-")
        if "positional" in fields[name].metadata:
            first += map(str, entries)
        elif is_switch:
            words.append(f"--{'' if value else 'no-'}{flag}")
        elif several:
            words += [f"--{flag}", *map(str, entries)]
        else:
            words.append(f"--{flag}={value}")
    return [*first, *words]


def _as_toml(value: Any) -> str:
    """A setting as TOML (toml.io, version 1.0.0); nothing for None, of which it has none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, str | Path):
        # JSON's escapes are TOML's, which has one more: of the delete character.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")
    return repr(value)
