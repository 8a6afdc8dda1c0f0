"""make notebooks: what cells print and show is kept, small and without what a terminal adds."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.helpers import needs

needs.package("nbclient", "ipykernel", "nbformat")

import nbformat  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402

from tools.make_notebooks import INSTALLS, run, small_gif, small_png  # noqa: E402

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
PICTURE = """
from IPython.display import Image, display
from PIL import Image as Pictures
Pictures.effect_noise((900, 300), 90).save("a.png")
display(Image(filename="a.png"))
"""


def notebook(*cells: str):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata = nbformat.from_dict(KERNEL)
    return book


def test_a_notebook_keeps_what_its_cells_print_and_show(tmp_path):
    book = notebook(
        f"{INSTALLS} = 1 / 0",
        "print('one')\nprint('10 %\\r\\x1b[31m90 %\\rdone')",
        "!python -c \"import common, os; print('two', os.listdir())\"",
        PICTURE,
    )
    run(book, tmp_path)
    setup, first, second, third = book.cells
    assert (setup.outputs, setup.execution_count) == ([], None)
    assert [output.text for output in first.outputs] == ["one\ndone\n"]
    assert [output.text for output in second.outputs] == ["two []\n"]
    [shown] = third.outputs
    assert list(shown.data) == ["image/png"]
    with Image.open(io.BytesIO(base64.b64decode(shown.data["image/png"]))) as picture:
        assert picture.size == (640, 213)
    assert book.metadata == KERNEL
    nbformat.validate(book)


def test_a_cell_that_fails_ends_it(tmp_path):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(notebook("1 / 0"), tmp_path)


def test_a_gif_keeps_its_length_with_fewer_frames():
    frames = [
        Image.fromarray(np.full((40, 60), 5 * number, np.uint8)).convert("RGB")
        for number in range(30)
    ]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=130, loop=0)
    with Image.open(io.BytesIO(small_gif(file.getvalue()))) as small:
        shown = [frame.convert("L").getpixel((5, 5)) for frame in ImageSequence.Iterator(small)]
        assert shown == pytest.approx([0, 20, 40, 60, 80, 100, 120, 140], abs=3)
        assert small.info["duration"] == 4 * 130 and small.info["loop"] == 0


def test_a_small_picture_stays_as_it_is():
    file = io.BytesIO()
    Image.new("RGB", (90, 60), "#1259a3").save(file, "PNG")
    with Image.open(io.BytesIO(small_png(file.getvalue()))) as picture:
        assert picture.size == (90, 60)
        assert picture.convert("RGB").getpixel((5, 5)) == (0x12, 0x59, 0xA3)
