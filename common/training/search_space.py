"""The settings of train.py that a search varies, and between what.

A setting is varied between two numbers, ``1e-5:1e-2:log`` or ``8:32``, or over some values,
``crossentropy,focal``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.base.config_file import read_toml
from common.base.errors import UserError
from common.base.help_text import flag_of
from common.base.settings import WITHOUT_CONSEQUENCE, SharedTrain, new_names

if TYPE_CHECKING:
    from optuna import Trial

NOT_VARIED = (*WITHOUT_CONSEQUENCE, "monitor", "seed", "fold", "nested")
"""Settings whose values have the same result, or scores that do not compare."""

_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Varied:
    """A setting that a search varies.

    Attributes:
        name: Of the setting.
        text: Between what, in the words of the command line; the same for the same values.
        values: Over which; none where it is varied between two numbers.
        low: The least number.
        high: The greatest.
        is_whole: Whether only whole numbers are meant.
        is_log: Whether a factor counts, in place of a difference.
        is_list: Whether the setting takes a list, of which a value is the only entry.
    """

    name: str
    text: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    is_whole: bool = False
    is_log: bool = False
    is_list: bool = False

    def suggest(self, trial: Trial) -> Any:
        """The value for a trial, the one that it has if it was suggested before."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if self.is_whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.is_log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.is_log)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that train.py has to take, for all others to be taken."""
        return self.values or (self.low, self.high)

    def words(self, value: Any) -> list[str]:
        """A value as words of train.py's command line."""
        return flag_of(self.name, (value,) if self.is_list else value).split(" ", 1)


def varied(name: str, between: Any, settings: type[SharedTrain]) -> Varied:
    """A setting, and between what it is varied.

    Args:
        name: Of the setting, with ``-`` or ``_``.
        between: ``LOW:HIGH``, ``LOW:HIGH:log`` or ``A,B,C`` as a text, or a list of values.
        settings: The class of train.py's settings.

    Raises:
        UserError: There is no such setting, it is not to be varied, or not so.
    """
    name = name.strip().replace("-", "_")
    name = new_names(settings).get(name, name)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, 1)
        hint = f"did you mean {near[0]}?" if near else "train.py --help-all shows every setting"
        raise UserError(f"--over {name}: there is no such setting; {hint}")
    if name in NOT_VARIED:
        raise UserError(
            f"--over {name}: its values give the same training, or scores that do not compare; "
            "give it once, after --, if at all"
        )
    kind = typing.get_type_hints(settings)[name]
    if isinstance(between, str) and kind in (int, float) and ":" in between:
        return _numbers(name, between, kind)
    entries = between.split(",") if isinstance(between, str) else between
    if not isinstance(entries, list) or len(entries) < 2:
        raise UserError(
            f"--over {name}={between}: give LOW:HIGH or LOW:HIGH:log for a number, or two and more "
            "values as A,B"
        )
    values = tuple(_value(name, entry, kind) for entry in entries)
    if len(set(values)) < len(values):
        raise UserError(f"--over {name}={between}: has a value twice; take one away")
    is_list = typing.get_origin(kind) is tuple
    return Varied(name, ",".join(map(str, values)), values, is_list=is_list)


def read_space(file: Path | None, over: Sequence[str], settings: type[SharedTrain]) -> list[Varied]:
    """What is varied, from a file and from the command line, which wins.

    Args:
        file: A TOML file of NAME = "LOW:HIGH" or NAME = [A, B]; None for none.
        over: Each ``NAME=LOW:HIGH``, or as `varied` takes it.
        settings: The class of train.py's settings.

    Returns:
        By the order of their names.

    Raises:
        UserError: The file is not readable, nothing is varied, or something in a wrong way.
    """
    pairs = list(read_toml(file, "a TOML file").items()) if file else []
    for text in over:
        name, equals, between = text.partition("=")
        if not equals:
            raise UserError(f"--over {text}: give NAME=LOW:HIGH or NAME=A,B")
        pairs.append((name, between))
    entries = {entry.name: entry for entry in (varied(*pair, settings) for pair in pairs)}
    if not entries:
        raise UserError("nothing is varied: give --over NAME=LOW:HIGH, or a file to --space")
    return [entries[name] for name in sorted(entries)]


def _numbers(name: str, between: str, kind: type) -> Varied:
    low_text, high_text, *more = between.split(":")
    try:
        low, high = kind(low_text), kind(high_text)
    except ValueError:
        number = "a whole number" if kind is int else "a number"
        raise UserError(f"--over {name}={between}: takes {number} on each side of :") from None
    if more not in ([], ["log"]):
        raise UserError(f"--over {name}={between}: after LOW:HIGH comes :log or nothing")
    if not -math.inf < low < high < math.inf or (more and low <= 0):
        need = "LOW above 0, and HIGH above LOW" if more else "HIGH above LOW"
        raise UserError(f"--over {name}={between}: give {need}")
    text = ":".join([str(low), str(high), *more])
    return Varied(name, text, (), low, high, kind is int, bool(more))


def _value(name: str, entry: Any, kind: Any) -> Any:
    """A value of a list; train.py itself says whether it takes a word."""
    text = str(entry).strip()
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise UserError(f"--over {name}: takes true and false. Received: {text}")
        return _TRUTH[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise UserError(f"--over {name}: takes numbers. Received: {text}") from None
    return text
