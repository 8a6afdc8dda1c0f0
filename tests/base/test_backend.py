"""TensorFlow started quietly."""

import subprocess
import sys

import pytest

from common.base.backend import start_tensorflow
from common.base.files import ROOT


@pytest.mark.slow
def test_tensorflow_starts_without_a_word():
    script = (
        "import sys, os; from common.base.backend import start_tensorflow; "
        "start_tensorflow(); start_tensorflow(); "
        "assert 'tensorflow' in sys.modules; print('mine', file=sys.stderr); "
        # What is written below Python is heard again too.
        "os.write(2, b'below')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "mine\nbelow")


def test_a_second_start_does_nothing():
    import tensorflow

    start_tensorflow()
    assert sys.modules["tensorflow"] is tensorflow
