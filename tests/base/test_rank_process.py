"""What a rank's last words mean: an error of its own, or another rank that has gone."""

import pytest

from common.base.rank_process import _Words

OWN = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 1, in <module>\n'
    "    main()\n"
    "TypeError: no such thing\n"
)
OF_JAX = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 1, in <module>\n'
    "    main()\n"
    "jax.errors.JaxRuntimeError: FAILED_PRECONDITION: Gloo AllReduce failed: closed by peer\n"
)
OF_C = (
    "F1130 06:08:44.738184   32286 client.h:80] Terminating process because the JAX distributed "
    "service detected fatal errors. This most likely indicates that another task died; see\n"
    "*** Check failure stack trace: ***\n"
    "    @     0x7f4874040634  absl::LogMessage::SendToLog()\n"
)


def words(text, is_first=True):
    found = _Words(text.splitlines(keepends=True), is_first)
    found.run()
    return found


def test_an_error_of_its_own_is_told_from_what_jax_prints_after_it():
    found = words(f"a warning\n{OWN}{OF_C}")
    assert found.failure == OWN and not found.missed


def test_the_last_of_chained_errors_counts():
    chained = f"{OF_JAX}\nDuring handling of the above exception, another occurred:\n\n{OWN}"
    assert words(chained).failure == chained
    other = f"{OWN}\nDuring handling of the above exception, another occurred:\n\n{OF_JAX}"
    assert not words(other).failure and words(other).missed.startswith("Gloo AllReduce failed")


@pytest.mark.parametrize("text", [OF_JAX, OF_C, OF_JAX + OF_C])
def test_another_rank_that_has_gone_is_named(text):
    assert words(text).missed and not words(text).failure


def test_a_traceback_that_is_not_whole_yet_is_waited_for():
    found = words(OWN.rpartition("TypeError")[0])
    assert not found.failure and not found.missed


@pytest.mark.parametrize(
    "of", ["Exception ignored in: <function f>", "Exception in thread Thread-1:"]
)
def test_an_exception_that_ends_nothing_is_handed_on(of, capsys):
    found = words(f"{of}\n{OWN}next\n")
    assert not found.failure and not found.last
    assert capsys.readouterr().err == f"{of}\n{OWN}next\n"


def test_a_line_for_the_user_is_kept(capsys):
    found = words(f"error: mend it\n{OF_C}")
    assert found.error == "mend it" and capsys.readouterr().err == ""
