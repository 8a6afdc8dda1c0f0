"""What a case is decoded to, in a module that a spawned process can import."""

import time
from pathlib import Path

import numpy as np

from common.base.errors import UserError


def decode(case):
    """A case to features; notes in a file that it was asked for."""
    with open(case["log"], "a") as log:
        log.write(f"{case['case']}\n")
    if case.get("fault"):
        raise UserError(case["fault"])
    return {
        "image": bytes([case["number"]]) * 5000,
        "case": case["case"],
        "copy": case.get("copy", 0),
        "box": np.array([case["number"], 0.5]),
    }


def slow(case):
    """The same, so slowly that a test can end it in between."""
    time.sleep(0.15)
    return decode(case)


def cases(folder: Path, count=14):
    """Cases of two splits, mixed."""
    return [
        {
            "case": f"c{number}",
            "number": number,
            "split": "test" if number % 4 == 3 else "train",
            "log": str(folder / "asked.txt"),
        }
        for number in range(count)
    ]
