"""common.app as a command: many at once, flat memory, nothing kept, an end by Ctrl-C."""

from __future__ import annotations

import copy
import io
import os
import re
import signal
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.base.processes import pool
from common.prediction.predictions import lost
from common.prediction.uploads import Uploads, read_upload
from tests.helpers import needs
from tests.helpers.app_pages import Served
from tests.helpers.scripts import PROJECTS, ROOT

needs.package("starlette", "uvicorn", "python_multipart", "playwright")
from common import app  # noqa: E402

PNEUMONIA, HEART, ATRIUM = PROJECTS


@pytest.mark.slow
def test_several_at_once_are_answered_as_one_by_one_and_nothing_is_kept(page, films):
    files = [(path.name, path.read_bytes()) for path in sorted(films.iterdir())]
    alone = [page.ask(file).json() for file in files]
    with ThreadPoolExecutor(9) as threads:
        together = [answer.json() for answer in threads.map(page.ask, files * 3)]
    assert together == alone * 3
    assert not list(page.temporary.glob("upload-*"))


def ends_its_process(path: Path):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_decoder_that_ends_its_process_ends_no_more(page, films):
    broken = copy.copy(page.predictors[0])
    broken.read = ends_its_process
    with pool(read_upload, 1, lost) as processes:
        uploads = Uploads([broken, page.predictors[0]], processes)
        film = (films / "film-1.dcm").read_bytes()
        answer = uploads.answer(0, [("a.dcm", io.BytesIO(film))])
        assert "the process that read it was killed" in answer["error"]
        assert "error" not in uploads.answer(1, [("a.dcm", io.BytesIO(film))])


def resident_mib(pid: int | str = "self") -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


@pytest.mark.slow
def test_a_hundred_drops_take_no_more_memory_than_some(every_page, films, volumes):
    film = ("film-1.dcm", (films / "film-1.dcm").read_bytes())
    volume = ("volume-1.nii.gz", (volumes / "volume-1.nii.gz").read_bytes())
    used = []
    for number in range(120):
        asked = {0: (film, 0), 1: (film, 1), 2: (volume, 2)}[number % 3]
        assert "error" not in every_page.ask(asked[0], number=asked[1]).json()
        used.append(resident_mib())
    # Each drop moves it by some 60 MiB, up or down.
    early, late = statistics.median(used[20:60]), statistics.median(used[80:])
    print(f"resident at 20 to 60 drops {early:.0f} MiB, at 80 to 120 {late:.0f} MiB")
    assert late < early + 40
    assert not list(every_page.temporary.glob("upload-*"))


@pytest.mark.slow
def test_the_command_says_where_it_serves_and_ends_by_ctrl_c(whole, films):
    command = [
        sys.executable,
        "-m",
        "common.app",
        "--run",
        str(whole(PNEUMONIA).run),
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        while "Ctrl-C ends it" not in "".join(lines[-1:]):
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()
        printed = "".join(lines)
        [address] = re.findall(r"http://127\.0\.0\.1:\d+", printed)
        assert "Trained on SYNTHETIC data" in printed and "Not for diagnosis" in printed
        served = Served(address, Path(), [])
        content = (films / "film-1.dcm").read_bytes()
        assert "error" not in served.ask(("Mustermann.dcm", content)).json()
        port = address.rsplit(":", 1)[1]
        taken = subprocess.run(
            [*command[:-1], port], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert taken.returncode == 2
        assert taken.stderr.startswith(
            f"error: --port {port}: Address already in use; give another"
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in err and "go on" not in err
        assert "Mustermann" not in printed + out + err
    finally:
        process.kill()


def test_the_help_teaches_on_one_screen_or_two(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app", "--help"])
    with pytest.raises(SystemExit) as leaving:
        app.main()
    assert leaving.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 66 and max(map(len, lines)) <= 100
