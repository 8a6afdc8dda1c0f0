"""The command line of `python -m MODULE`: its help, and one line for what is wrong."""

from __future__ import annotations

import argparse
from typing import NoReturn

from common.base.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser that knows its command, and raises `UserError` for what it can't take.

    Args:
        module: Of the command, such as "common.results".
        about: What the command does, as it is to stand in the help.
    """

    def __init__(self, module: str, about: str | None) -> None:
        super().__init__(
            prog=f"python -m {module}",
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise the error in one line."""
        raise UserError(f"{message}; --help shows how")
