"""How a script leaves."""

import ctypes
import signal
import subprocess
import sys

import pytest

from common.base.files import ROOT
from tests.helpers import needs

BEFORE = "import errno, signal, time; from common.base.errors import UserError, run_script\n"
WAIT = "def main():\n    print('ready')\n    time.sleep(60)\nrun_script(main)"


def start(script, **more):
    return subprocess.Popen(
        [sys.executable, "-c", BEFORE + script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **more,
    )  # fmt: skip


def run(script, **more):
    """The exit status, standard output and standard error."""
    process = start(script, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_done():
    assert run("run_script(lambda: print('all'))") == (0, "all\n", "")


def test_what_the_user_can_mend_is_one_line():
    script = "def main():\n    raise UserError('a.csv: has no\\n  column x')\nrun_script(main)"
    assert run(script) == (2, "", "error: a.csv: has no column x\n")


@pytest.mark.parametrize(
    ("code", "mend"),
    [("ENOSPC", "no space is left"), ("EACCES", "permission is denied"), ("EROFS", "read-only")],
)
def test_a_fault_of_the_disk_is_one_line(code, mend):
    script = f"def main():\n    raise OSError(errno.{code}, 'x', '/a/b.csv')\nrun_script(main)"
    status, out, err = run(script)
    assert (status, out) == (2, "")
    assert err.startswith("error: /a/b.csv: ") and mend in err and err.count("\n") == 1


def obey_permissions():
    """As root too: what is started next may not read or write what its mode forbids."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@needs.machine(sys.platform == "linux", "asks for Linux's capabilities")
def test_a_file_that_may_not_be_read_is_named_with_what_to_do(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\n")
    (tmp_path / "labels.csv").chmod(0)
    script = f"run_script(lambda: open({str(tmp_path / 'labels.csv')!r}))"
    status, _, err = run(script, preexec_fn=obey_permissions)
    assert status == 2 and err == (
        f"error: {tmp_path}/labels.csv: permission is denied: change its permissions, or choose a "
        "folder that you may write to\n"
    )


@pytest.mark.parametrize(
    "error", ["RuntimeError('x.h5: write failed: File too large')", "OSError(errno.EFBIG, 'x')"]
)
def test_a_fault_of_the_disk_that_a_library_tells_in_its_own_words(error):
    status, _, err = run(f"def main():\n    raise {error}\nrun_script(main)")
    assert status == 2
    assert err.startswith("error: a file: ") and "ulimit" in err and err.count("\n") == 1


@pytest.mark.parametrize("fault", ["1 / 0", "open('/there/is/none')"])
def test_a_defect_has_its_traceback(fault):
    status, _, err = run(f"run_script(lambda: {fault})")
    assert status == 1
    assert err.startswith("Traceback")


@pytest.mark.parametrize(
    ("signal_sent", "status", "said"),
    [
        (signal.SIGINT, 130, "stopped; the same command goes on from here"),
        (signal.SIGTERM, 143, "stopped by SIGTERM; the same command goes on from here"),
    ],
)
def test_a_signal(signal_sent, status, said):
    # A shell starts what runs in its background deaf to Ctrl-C, and so would these tests be.
    process = start("signal.signal(signal.SIGINT, signal.default_int_handler)\n" + WAIT)
    # Read through a pipe, and yet there before the script ends.
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal_sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err.strip() == said


HELD = """
from common.base.signals import Stopped, held_signals
def main():
    with held_signals() as held:
        print('ready')
        while not held.received: time.sleep(0.01)
        time.sleep(0.2)
        print('saved')
        raise Stopped(held.received)
run_script(main)
"""


@pytest.mark.parametrize(("times", "said"), [(1, "saved\n"), (2, "")])
def test_a_signal_is_held_until_all_is_saved_a_second_one_is_not(times, said):
    process = start(HELD)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline() == "stopping after this step; once more to leave at once\n"
    if times == 2:
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, said)
    assert err.strip() == "stopped by SIGTERM; the same command goes on from here"


def test_a_held_signal_that_nobody_looked_at_stops_when_it_is_held_no_more():
    lines = """
from common.base.signals import held_signals
def main():
    with held_signals():
        signal.raise_signal(signal.SIGTERM)
        print('saved')
    print('not reached')
run_script(main)
"""
    status, out, err = run(lines)
    assert (status, out) == (143, "saved\n")
    assert err.strip().endswith("stopped by SIGTERM; the same command goes on from here")


@pytest.mark.slow
@pytest.mark.parametrize(("times", "said"), [(1, "to its end\n"), (2, "")])
def test_a_signal_within_tensorflow_stops_whoever_called_it(times, said):
    # What is raised in a function that TensorFlow's C++ calls may be lost, or crash it.
    status, out, err = run(f"""
def main():
    from common.base.backend import start_tensorflow
    start_tensorflow()
    import tensorflow as tf
    def called(one):
        for _ in range({times}): signal.raise_signal(signal.SIGTERM)
        print('to its end')
        return one
    def calls():
        tf.nest.map_structure(called, [1])
        print('not reached')
    calls()
run_script(main)
""")
    assert (status, out) == (143, said)
    assert err.strip() == "stopped by SIGTERM; the same command goes on from here"


def test_who_was_started_deaf_to_ctrl_c_stays_so():
    process = start("signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + WAIT)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip().split(";")[0]) == (143, "stopped by SIGTERM")


def test_a_reader_that_has_read_enough():
    lines = "def main():\n    for number in range(100_000): print(number)\nrun_script(main)"
    process = start(lines)
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [("UserError('no')", 2), ("Stopped(15)", 143)])
def test_a_reader_of_tf_data_that_calls_python_does_not_hold_up_the_end(error, status):
    found, _, err = run(f"""
def main():
    from common.base.backend import start_tensorflow
    from common.base.signals import Stopped
    start_tensorflow("cpu")
    import tensorflow as tf

    def slow(number):
        time.sleep(0.5)
        return number

    numbers = tf.data.Dataset.range(99).map(
        lambda number: tf.numpy_function(slow, [number], tf.int64), num_parallel_calls=4
    )
    ring = [iter(numbers)]
    ring.append(ring)
    next(ring[0])
    raise {error}
run_script(main)
""")
    assert found == status, err
