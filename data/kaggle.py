"""What only Kaggle hands out, to those who have an account and accepted its rules there."""

from __future__ import annotations

import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from common.base.errors import UserError
from common.base.files import atomic_write
from data.room import require_room
from data.sources import Dataset

CLICKS = """
{title}
needs your own account at Kaggle. Three clicks:
  1. {page}/rules        sign in, "I Understand and Accept"
  2. {page}/data         "Download All": {file}
  3. python -m data.download {name} --accept --archive ~/Downloads/{file}
With a key of yours (https://www.kaggle.com/settings, "Create New Token") and
pip install -e ".[kaggle]", this command downloads by itself once the rules are accepted.
"""


def from_kaggle(dataset: Dataset, folder: Path) -> None:
    """Have a competition's files by ``kagglehub``, which keeps them and goes on after a break.

    Args:
        dataset: With its ``competition``.
        folder: The dataset's folder; only what is not there is copied into it.

    Raises:
        UserError: kagglehub is not installed, or it has no key, or the rules were not accepted.
            What to do by hand is printed before.
    """
    if all((folder / name).exists() for name in dataset.needs):
        print(f"{folder}: is there already")
        return
    steps = CLICKS.format(**vars(dataset))
    if find_spec("kagglehub") is None:
        print(steps)
        raise UserError(f"{dataset.name}: kagglehub is not installed; do as above")
    require_room(Path.home(), dataset.size + dataset.unpacked)
    try:
        downloaded = Path(import_module("kagglehub").competition_download(dataset.competition))
    except Exception as error:  # of its own kinds, and of requests
        print(steps)
        raise UserError(
            f"{dataset.name}: kagglehub could not download it ({type(error).__name__}); has it "
            "your key, and have you accepted the rules? Else do as above"
        ) from error
    require_room(folder, dataset.unpacked)
    missing = [name for name in dataset.needs if not (downloaded / name).exists()]
    if missing:
        raise UserError(f"{downloaded}: lacks {', '.join(missing)}; remove it and start again")
    # The table of labels comes last: where it is, all is there.
    for path in sorted(downloaded.rglob("*")):
        target = folder / path.relative_to(downloaded)
        if path.is_file() and not target.exists():
            with atomic_write(target) as temporary:
                shutil.copyfile(path, temporary)
