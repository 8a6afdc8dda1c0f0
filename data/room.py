"""The free room of a disk, looked at before anything large is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from common.base.errors import UserError

_SPARE = 50_000_000


def require_room(folder: Path, size: int) -> None:
    """Refuse to write so many bytes into a folder that they would not fit.

    Raises:
        UserError: Less is free, or so little more that nothing else could be written.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if size + _SPARE > free:
        raise UserError(
            f"{folder}: {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; free "
            "some, or choose another disk with --to FOLDER"
        )
