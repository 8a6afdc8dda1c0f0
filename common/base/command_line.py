"""The command line as settings: the preset's values, and those that are given.

tyro turns a dataclass of settings into the command line, its docstrings into ``--help``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import docstring_parser
import tyro

from common.base.backend import has_gpu
from common.base.errors import UserError
from common.base.files import read_json
from common.base.project import Project
from common.base.settings import Shared, new_names

Settings = TypeVar("Settings", bound=Shared)


def parse(
    project: Project,
    kind: Literal["prepare", "train", "evaluate", "predict"],
    description: str | None,
    arguments: list[str] | None = None,
) -> Any:
    """The command line as settings: the preset's values, and those that are given.

    Args:
        project: Whose presets.
        kind: Which of a preset's four settings.
        description: What the script does, for ``--help``.
        arguments: The command line without the program's name; default `sys.argv`.

    Returns:
        An instance of the preset's settings class, with ``preset`` resolved to its name.

    Raises:
        UserError: A setting is unknown, or cannot take its value.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name, given = _preset_name(project, kind, arguments)
    settings = dataclasses.replace(getattr(project.presets[name], kind), preset=name)
    arguments = _with_current_flags(arguments, type(settings))
    presets = "\n".join(f"--preset {key}: {value.about}" for key, value in project.presets.items())
    if "-h" not in arguments and "--help" not in arguments:
        settings = _parsed(settings, arguments)
        return settings if given else dataclasses.replace(settings, preset=name)
    about = (description or "").strip()
    defaults = f"Defaults shown are those of --preset {name}."
    return _parsed(settings, arguments, f"{about}\n\n{presets}\n\n{defaults}")


def _parsed(settings: Settings, arguments: list[str], description: str = "") -> Settings:
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            parsed: Any = tyro.cli(
                _with_help_in_one_line(settings), args=arguments, description=description
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        # tyro draws its message in a box with the setting's help; the contract is one line. The
        # box has a title; in a terminal without Unicode it is drawn in other characters.
        lines = [line.strip(" │|") for line in output.getvalue().splitlines()[1:]]
        words = " ".join(line for line in lines if line.strip("─-+╰╯"))
        words = re.split(r"Argument helptext:|For full helptext", words)[0].rstrip(" .")
        raise UserError(f"{' '.join(words.split())}; --help shows every setting") from None
    return type(settings)(**vars(parsed))


def _with_current_flags(arguments: list[str], settings: type[Shared]) -> list[str]:
    """The arguments with current flags; prints a notice for each that was renamed."""
    flags = {
        f"{prefix}{old.replace('_', '-')}": f"{prefix}{new.replace('_', '-')}"
        for old, new in new_names(settings).items()
        for prefix in ("--", "--no-")
    }
    current = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        flag = flag.replace("_", "-") if flag.startswith("--") else flag
        if flag in flags:
            print(f"{flag} is now {flags[flag]}")
            argument = flags[flag] + equals + value
        current.append(argument)
    return current


def _with_help_in_one_line(settings: Shared) -> type[Any]:
    """The same fields and defaults as a dataclass whose help tyro can wrap.

    tyro keeps the line breaks of a docstring of several lines, whatever the terminal's width.
    """
    helps = {
        parameter.arg_name: " ".join((parameter.description or "").split())
        for ancestor in reversed(type(settings).__mro__[:-1])
        for parameter in docstring_parser.parse_from_object(ancestor).params
    }
    kinds: dict[str, Any] = typing.get_type_hints(type(settings))
    fields = []
    for field in dataclasses.fields(settings):
        metavar = field.metadata.get("positional")
        details = [tyro.conf.arg(help=helps.get(field.name, ""), metavar=metavar)]
        if metavar:
            details.append(tyro.conf.Positional)
        kind = kinds[field.name]
        if "choices" in field.metadata:
            names: Any = Literal[field.metadata["choices"]]
            kind = tuple[names, ...] if isinstance(field.default, tuple) else names
        default = dataclasses.field(default=getattr(settings, field.name))
        fields.append((field.name, Annotated[(kind, *details)], default))
    return dataclasses.make_dataclass(type(settings).__name__, fields)


def _preset_name(project: Project, kind: str, arguments: list[str]) -> tuple[str, bool]:
    """The preset, and whether it was given; else what the machine and the data suggest."""
    given = _value_of("--preset", arguments)
    if given is not None and given in project.presets:
        return given, True
    machine = "gpu" if has_gpu() else "cpu"
    if kind in ("evaluate", "predict"):
        return machine, False
    folder = _value_of("--prepared", arguments) if kind == "train" else None
    if kind == "train" and folder is None and (project.prepared(False) / "manifest.json").exists():
        return machine, False
    if folder is not None:
        manifest = Path(folder) / "manifest.json"
        content = read_json(manifest) if manifest.exists() else None
        synthetic = isinstance(content, dict) and content.get("synthetic", False)
        return ("demo" if synthetic else machine), False
    has_data = _value_of("--source", arguments) is not None or project.raw.is_dir()
    return (machine if has_data else "demo"), False


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.split("=", 1)[1]
    return None
