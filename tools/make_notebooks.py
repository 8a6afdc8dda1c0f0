"""Run the notebooks on the synthetic sample and keep in each what its cells print and show.

    make notebooks
    python -m tools.make_notebooks --only heart

Each runs from top to bottom in a kernel of Jupyter, all in one new folder, without the cell that
installs. Pictures are kept small, and an output that names a path of this machine is refused.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageSequence

from common.base.arguments import Parser
from common.base.errors import UserError, run_script
from common.base.files import write_text

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
INSTALLS = "REPOSITORY"
"""What the cell that clones and installs has, which is not run here."""

_MAX_WIDTH, _MAX_FRAMES = 640, 8
# What a terminal gets beside its text: colours and moves of the cursor.
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def main() -> None:
    """Run every notebook, or one, and write it with its outputs."""
    parser = Parser("tools.make_notebooks", "Run the notebooks and keep their outputs in them.")
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser.add_argument("--only", choices=names, help="run one of them")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        for name in [only] if only else names:
            path = NOTEBOOKS / f"{name}.ipynb"
            print(f"{path.relative_to(ROOT)} ...", flush=True)
            content = nbformat.read(path, as_version=4)
            run(content, Path(folder))
            text = nbformat.writes(content)
            for place in (folder, str(ROOT), str(Path.home())):
                if place in text:
                    raise UserError(f"{path}: an output would name {place}, of this machine")
            write_text(path, f"{text.rstrip()}\n")


def run(notebook: Any, folder: Path) -> None:
    """Run the code cells of a notebook in a folder, and put what comes of it into their outputs.

    Raises:
        CellExecutionError: A cell fails.
    """
    metadata = dict(notebook.metadata)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        record_timing=False,
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with client.setup_kernel(env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}):
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or INSTALLS in cell.source:
                continue
            client.execute_cell(cell, number)
            for output in cell.outputs:
                _tidy(output)
    notebook.metadata = nbformat.from_dict(metadata)


def _tidy(output: Any) -> None:
    """Make an output as small and as plain as a page needs it."""
    if output.output_type == "stream":
        lines = _CONTROLS.sub("", output.text).replace("\r\n", "\n").split("\n")
        # Of a line that was written over itself, such as a progress bar, the last stays.
        output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    for kind, shrink in (("image/png", small_png), ("image/gif", small_gif)):
        if kind in output.get("data", {}):
            content = shrink(base64.b64decode(output.data[kind]))
            output.data = nbformat.from_dict({kind: base64.b64encode(content).decode()})
            output.metadata = nbformat.from_dict({})


def small_png(content: bytes) -> bytes:
    """A PNG in 256 colours, no wider than a page shows it."""
    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_MAX_WIDTH, small.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def small_gif(content: bytes) -> bytes:
    """A GIF of some of its frames, evenly chosen, which takes as long as the whole."""
    with Image.open(io.BytesIO(content)) as picture:
        milliseconds = picture.info["duration"]
        frames = [frame.copy() for frame in ImageSequence.Iterator(picture)]
    step = -(-len(frames) // _MAX_FRAMES)
    first, *others = frames[::step]
    file = io.BytesIO()
    first.save(
        file, "GIF", save_all=True, append_images=others, duration=step * milliseconds, loop=0
    )
    return file.getvalue()


if __name__ == "__main__":
    run_script(main)
