"""What a script prints first and last: its settings, and the paths that it wrote."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common.base.settings import Shared

# Values of a setting, and files of a folder, that are printed one by one.
_MAX_VALUES = 4
_MAX_FILES = 8


def print_settings(title: str, settings: Shared) -> None:
    """Print a script's title and every setting before it begins."""
    print(f"\n{title}")
    fields = dataclasses.asdict(settings)
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        if isinstance(value, tuple):
            more = f" and {len(value) - _MAX_VALUES} more" if len(value) > _MAX_VALUES else ""
            value = " ".join(map(str, value[:_MAX_VALUES])) + more
        print(f"  {name:<{width}}  {'' if value is None else value}")


def print_paths(paths: Sequence[Path]) -> None:
    """Print the paths of written files; a folder of many files takes one line."""
    folders = Counter(path.parent for path in paths)
    few = [path for path in paths if folders[path.parent] <= _MAX_FILES]
    print("\nwritten:")
    for path in few:
        print(f"  {path}")
    for folder in folders - Counter(path.parent for path in few):
        print(f"  {folder}{os.sep} ({folders[folder]} files)")
