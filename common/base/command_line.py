"""The command line as settings: the preset's values, a file's, and those that are given.

tyro turns a dataclass of settings into the command line; `common.base.help_text` has the help.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from common.base.backend import CPU, has_gpu
from common.base.config_file import config_arguments, config_text
from common.base.errors import UserError
from common.base.files import read_json
from common.base.help_text import CONFIG, HELP_ALL, PRINT_CONFIG, VERBOSE, help_text
from common.base.project import Project, newest_run
from common.base.settings import Shared, new_names

Settings = TypeVar("Settings", bound=Shared)

# The script of each of a preset's four settings, where it has another name.
_SCRIPTS = {"prepare": "prepare_data"}


def parse(
    project: Project,
    kind: Literal["prepare", "train", "evaluate", "predict"],
    description: str | None,
    arguments: list[str] | None = None,
) -> Any:
    """The command line as settings: the preset's values, those of a file, and those that are given.

    With ``--help``, ``--help-all`` and ``--print-config`` it prints what they ask for, and ends the
    script.

    Args:
        project: Whose presets.
        kind: Which of a preset's four settings.
        description: What the script does, for ``--help``.
        arguments: The command line without the program's name; default `sys.argv`.

    Returns:
        An instance of the preset's settings class, with ``preset`` resolved to its name.

    Raises:
        UserError: A setting is unknown or cannot take its value, here or in the file.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    file, arguments = _file_of(arguments)
    settings_class = type(getattr(next(iter(project.presets.values())), kind))
    of_file = config_arguments(file, settings_class, project.name) if file else []
    name, given = _preset_name(project, kind, [*of_file, *arguments])
    settings = dataclasses.replace(getattr(project.presets[name], kind), preset=name)
    is_printed = PRINT_CONFIG in arguments
    arguments = _with_current_flags(arguments, settings_class, is_printed)
    if not {"-h", "--help", HELP_ALL}.isdisjoint(arguments):
        presets = {key: preset.about for key, preset in project.presets.items()}
        print(help_text(settings, description or "", presets, HELP_ALL in arguments))
        raise SystemExit(0)
    arguments = [argument for argument in arguments if argument not in (VERBOSE, PRINT_CONFIG)]
    settings = _parsed(settings, arguments, of_file, file)
    if is_printed:
        words = given_settings(settings_class, [*of_file, *arguments])
        words |= {"inputs"} if getattr(settings, "inputs", ()) else set()
        settings = settings if given else dataclasses.replace(settings, preset=name)
        print(config_text(settings, words, f"{project.name}/{_SCRIPTS.get(kind, kind)}.py"), end="")
        raise SystemExit(0)
    on_card = kind == "train" and settings.device != CPU
    if name == "gpu" and on_card and not has_gpu():
        raise UserError(
            "--preset gpu: no card was found, NVIDIA's driver shows none; give --preset cpu, or "
            "--device cpu too to train so on the CPU, which takes days"
        )
    return settings if given else dataclasses.replace(settings, preset=name)


def given_settings(settings: type[Shared], arguments: list[str] | None = None) -> set[str]:
    """The names of the settings that the command line gives, or its file, whatever their values.

    Args:
        settings: The class of the settings.
        arguments: The command line without the program's name; default `sys.argv`.
    """
    file, arguments = _file_of(list(sys.argv[1:] if arguments is None else arguments))
    arguments = [*(config_arguments(file, settings) if file else []), *arguments]
    flags = {a.partition("=")[0].replace("_", "-") for a in arguments if a.startswith("--")}
    names = {field.name: field.name for field in dataclasses.fields(settings)}
    return {
        name
        for word, name in (names | new_names(settings)).items()
        if not flags.isdisjoint({f"{no}{word.replace('_', '-')}" for no in ("--", "--no-")})
    }


def _file_of(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The file of ``--config``, the last that is given, and the other arguments."""
    file, others = None, []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag == CONFIG:
            file = value if equals else next(words, "")
        else:
            others.append(word)
    if file == "":
        raise UserError(f"{CONFIG}: name a file, such as {PRINT_CONFIG} prints")
    return Path(file) if file else None, others


def _parsed(
    settings: Settings, arguments: list[str], of_file: list[str], file: Path | None
) -> Settings:
    """The settings with what a file gives, and over that the arguments."""
    values = vars(settings)
    if of_file:
        try:
            values = _given_values(type(settings), values, of_file)
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    return type(settings)(**_given_values(type(settings), values, arguments))


def _given_values(
    settings: type[Shared], values: Mapping[str, Any], arguments: list[str]
) -> dict[str, Any]:
    """The values with those that arguments give; whether they go together is not asked."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            parsed: Any = tyro.cli(_for_tyro(settings, values), args=arguments)
    except SystemExit:
        # tyro draws its message in a box with the setting's help; the contract is one line. The
        # box has a title; in a terminal without Unicode it is drawn in other characters.
        lines = [line.strip(" │|") for line in output.getvalue().splitlines()[1:]]
        words = " ".join(line for line in lines if line.strip("─-+╰╯"))
        words = re.split(r"Argument helptext:|For full helptext", words)[0].rstrip(" .")
        raise UserError(f"{' '.join(words.split())}; --help-all shows every setting") from None
    return dict(vars(parsed))


def _with_current_flags(
    arguments: list[str], settings: type[Shared], is_printed: bool
) -> list[str]:
    """The arguments with current flags; prints a notice for each that was renamed.

    Where the settings are printed, standard output is theirs alone.
    """
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
            print(f"{flag} is now {flags[flag]}", file=sys.stderr if is_printed else None)
            argument = flags[flag] + equals + value
        current.append(argument)
    return current


def _for_tyro(settings: type[Shared], values: Mapping[str, Any]) -> type[Any]:
    """The same fields, with values as defaults, as a dataclass with the annotations of tyro."""
    kinds: dict[str, Any] = typing.get_type_hints(settings)
    fields = []
    for field in dataclasses.fields(settings):
        metavar = field.metadata.get("positional")
        details: list[Any] = [tyro.conf.arg(metavar=metavar)]
        if metavar:
            details.append(tyro.conf.Positional)
        kind = kinds[field.name]
        if "choices" in field.metadata:
            names: Any = Literal[field.metadata["choices"]]
            kind = tuple[names, ...] if isinstance(field.default, tuple) else names
        default = dataclasses.field(default=values[field.name])
        fields.append((field.name, Annotated[(kind, *details)], default))
    return dataclasses.make_dataclass(settings.__name__, fields)


def _preset_name(project: Project, kind: str, arguments: list[str]) -> tuple[str, bool]:
    """The preset, and whether it was given; else the run's, or what machine and data suggest."""
    given = _value_of("--preset", arguments)
    if given is not None and given in project.presets:
        return given, True
    machine = "gpu" if has_gpu() else "cpu"
    if kind in ("evaluate", "predict"):
        return _preset_of_run(project, _value_of("--run", arguments)) or machine, False
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


def _preset_of_run(project: Project, folder: str | None) -> str | None:
    """The preset that trained the run, here the newest; None where nothing tells it."""
    try:
        run = newest_run(project) if folder is None else Path(folder)
        name = str(read_json(run / "config.json")["settings"]["preset"])
    except (UserError, KeyError, TypeError):  # who opens the run says what it lacks
        return None
    return name if name in project.presets else None


def _value_of(flag: str, arguments: list[str]) -> str | None:
    """The value that is given last, which is what counts."""
    value = None
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            value = arguments[position + 1]
        elif argument.startswith(f"{flag}="):
            value = argument.split("=", 1)[1]
    return value
