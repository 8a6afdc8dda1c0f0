"""The progress bar of all that takes over two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A bar on standard output that appears after two seconds; none where that is no terminal.

    Args:
        items: What is iterated over; None for a bar that is moved by hand (``update``).
        **options: Of tqdm: ``total``, ``desc``, ``unit`` and others.
    """
    return tqdm(items, **{"delay": 2, "file": sys.stdout, "disable": None, **options})
