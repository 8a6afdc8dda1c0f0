"""One image file to pixels or voxels, by the standard, and back.

The public face: ``from common.imaging import read_radiograph, read_volume``. Each comes with its
reader's packages at first use, so that pydicom and nibabel cost nothing where they are not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.imaging.dicom import read_radiograph
    from common.imaging.volumes import read_volume

__all__ = ["read_radiograph", "read_volume"]

_HOMES = {"read_radiograph": "common.imaging.dicom", "read_volume": "common.imaging.volumes"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
