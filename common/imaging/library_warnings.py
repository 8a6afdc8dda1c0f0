"""What libraries warn of while they read a file: its kind, since a warning quotes values."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import PurePath

_LOGGERS = (
    *("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"),
    "nibabel.global",
)
_KINDS: ContextVar[set[str] | None] = ContextVar("kinds", default=None)
# Python's warnings and loggers belong to the process: one thread at a time holds them.
_LOCK = threading.RLock()

# What may be of the file: what is quoted, follows a colon, or has a digit.
_VALUES = ((r"(['\"]).*\1", "..."), (r":.*", ""), (r"\S*\d\S*", "n"))


@contextmanager
def library_warnings() -> Iterator[set[str]]:
    """Collect the kinds of the warnings within a block, none of which is printed.

    Yields:
        What is filled: such as "pydicom: Unknown encoding ... - using default encoding instead".
    """
    kinds: set[str] = set()
    token = _KINDS.set(kinds)
    try:
        with unprinted_warnings():
            yield kinds
    finally:
        _KINDS.reset(token)


@contextmanager
def unprinted_warnings() -> Iterator[None]:
    """Keep warnings within a block off the screen; they are noted where somebody collects them."""
    kinds = _KINDS.get()

    def note(record: logging.LogRecord) -> bool:
        if kinds is not None and record.levelno >= logging.WARNING:
            kinds.add(_kind(record.name.partition(".")[0], record.getMessage()))
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore" if kinds is None else "always")
        for logger in loggers:
            logger.addFilter(note)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(note)
            if kinds is not None:
                kinds.update(_kind(_library(each.filename), str(each.message)) for each in caught)


def _library(file: str) -> str:
    """The library that a file of code is of."""
    parts = PurePath(file).parts
    after = parts[parts.index("site-packages") + 1 :] if "site-packages" in parts else parts[-1:]
    return after[0].removesuffix(".py")


def _kind(library: str, message: str) -> str:
    text = " ".join(message.split())
    for pattern, instead in _VALUES:
        text = re.sub(pattern, instead, text)
    return f"{library}: {text[:120]}".rstrip(" ,;(")
