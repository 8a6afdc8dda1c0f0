"""What a script prints first and last: its settings, and the paths that it wrote."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.base.environment import TENSORFLOW, backend
from common.base.help_text import VERBOSE, flag_of, in_words
from common.base.project import Project
from common.base.settings import Shared

# Values of a setting, and files of a folder, that are printed one by one.
_MAX_VALUES = 4
_MAX_FILES = 8


def print_settings(title: str, settings: Shared, project: Project) -> None:
    """Print a script's title and in what its settings differ from the preset's.

    With ``--verbose`` every setting, a line each.

    Args:
        title: What the script does.
        settings: Its own.
        project: With the presets.
    """
    print(f"\n{title}")
    fields = {name: _shortened(value) for name, value in dataclasses.asdict(settings).items()}
    if VERBOSE in sys.argv:
        width = max(map(len, fields))
        for name, value in fields.items():
            print(f"  {name:<{width}}  {in_words(value)}")
        return
    usual = project.usual(settings)
    given = [
        flag_of(name, value)
        for name, value in fields.items()
        if name != "preset" and value != _shortened(getattr(usual, name))
    ]
    if backend() != TENSORFLOW:
        given.append(f"KERAS_BACKEND={backend()}")
    print("  " + ", ".join([f"--preset {settings.preset}", *given]), flush=True)


def as_printed(name: str) -> str:
    """A name as the terminal can show it: its letters, and escapes for what it has none for."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def counted(number: int, noun: str) -> str:
    """A number of things: "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shortened(value: Any) -> Any:
    if not isinstance(value, tuple) or len(value) <= _MAX_VALUES:
        return value
    return (*value[:_MAX_VALUES], f"and {len(value) - _MAX_VALUES} more")


def print_paths(paths: Sequence[Path]) -> None:
    """Print the paths of written files; a folder of many files takes one line."""
    folders = Counter(path.parent for path in paths)
    few = [path for path in paths if folders[path.parent] <= _MAX_FILES]
    print("\nwritten:")
    for path in few:
        print(f"  {path}")
    for folder in folders - Counter(path.parent for path in few):
        print(f"  {folder}{os.sep} ({counted(folders[folder], 'file')})")
