"""The dataset that prepare_data.py reads: the one that is given, the usual one, or the sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from common.base.errors import UserError
from common.base.files import ROOT
from common.base.project import Project
from common.base.settings import SharedPrepare

SYNTHETIC_BANNER = """
  ##############################################################################
  #  SYNTHETIC DATA: {why:<58}#
  #  Made by synthetic_sample/; it stands for no patient, and a score on it    #
  #  says nothing about medicine.                                              #
  ##############################################################################
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset's folder, and whether this repository made it up."""

    folder: Path
    synthetic: bool


def find_source(
    project: Project, settings: SharedPrepare, make_sample: Callable[[Path], object]
) -> Source:
    """Find the dataset; where there is none, make the built-in sample.

    Args:
        project: The dataset's project.
        settings: Their ``source``, if given, is the dataset.
        make_sample: Makes the built-in sample in a folder.

    Raises:
        UserError: The given folder does not exist.
    """
    if settings.source is not None:
        if not settings.source.is_dir():
            raise UserError(
                f"{settings.source}: there is no such folder; give --source the folder that the "
                "dataset was unpacked into (data/README.md)"
            )
        folder = settings.source
    elif settings.preset != "demo" and project.raw.is_dir():
        folder = project.raw
    else:
        why = "--preset demo asks for the built-in sample."
        if settings.preset != "demo":
            why = f"there is no data/raw/{project.dataset}."
        print(SYNTHETIC_BANNER.format(why=why), flush=True)
        make_sample(ROOT / "data" / "synthetic")
        folder = ROOT / "data" / "synthetic" / project.sample
    return Source(folder, (folder / "SYNTHETIC.json").exists())
