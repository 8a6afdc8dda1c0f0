"""Serve a page on this computer: drop a film or a volume on it, and see what runs say of it.

    python -m common.app --run runs/my-run
    python -m common.app --run runs/pneumonia --run runs/heart --run runs/atrium --port 8100

It prints an address, http://127.0.0.1:8000, to open in a browser of the same computer; no other
computer can reach it. Each run has a place to drop files on:

    runs of films      DICOM, PNG or JPEG, several at once
    runs of volumes    .nii or .nii.gz, or all DICOM slices of a series (its folder)

For each it shows what predict.py writes, by the same code and with the same settings: the number
and how the run decides, a doubt where the file looks unlike those of training, the picture (a film
next to its Grad-CAM map, or with its box; a volume's three views, and its slices to scroll
through), and predictions.csv and the mask to download.

Nothing is stored: an upload lies in a temporary folder until its answer is there, and the page
forgets all when it is closed. A file whose name may be somebody's is called upload-1, upload-2 and
so on in what is downloaded. Ctrl-C ends it.

For research and teaching only, not for diagnosis. It needs further packages:
pip install -e ".[app]" in this repository.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from common.base.arguments import Parser
from common.base.backend import start_tensorflow
from common.base.errors import UserError, run_script
from common.base.processes import pool
from common.base.signals import Stopped
from common.prediction.predictions import lost
from common.prediction.predictor import Predictor
from common.prediction.uploads import Uploads, read_upload
from common.reporting.model_card import NOT_FOR, SYNTHETIC
from common.training.runs import read_run

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
"""Of the loopback interface alone, which no other computer reaches."""

_NEEDED = ("starlette", "uvicorn", "python_multipart")
# Connections at once; a browser holds six.
_MAX_CONNECTIONS = 64


def main() -> None:
    """Open the runs, then serve the page until Ctrl-C."""
    arguments = _arguments()
    if missing := [package for package in _NEEDED if find_spec(package) is None]:
        raise UserError(
            f"{', '.join(missing)}: not installed, and the page needs it; "
            'pip install -e ".[app]" in this repository'
        )
    for folder in arguments.run:
        read_run(folder)
    with _listening(arguments.port) as listener:
        start_tensorflow()

        predictors = open_predictors(arguments.run)
        with pool(read_upload, arguments.workers, lost) as processes:
            port = listener.getsockname()[1]
            server = page_server(predictors, Uploads(predictors, processes), port)
            print(f"\n  http://{HOST}:{port}\n")
            if any(predictor.run.config["synthetic"] for predictor in predictors):
                print(f"  {SYNTHETIC}")
            print(f"  {NOT_FOR}\n  Ctrl-C ends it", flush=True)
            with suppress(Stopped):  # as every use of it ends
                server.run(sockets=[listener])


def page_server(predictors: Sequence[Predictor], uploads: Uploads, port: int) -> uvicorn.Server:
    """The server of the page, to be run with a socket that listens on a port of `HOST`."""
    import uvicorn

    from common.prediction.web import web_app

    return uvicorn.Server(
        uvicorn.Config(
            web_app(predictors, uploads, port),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            # Nothing of a request is logged.
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
    )


def open_predictors(folders: Sequence[Path]) -> list[Predictor]:
    """A predictor for each run, with the settings that its project's predict.py has by default.

    Raises:
        UserError: One is no run, did not end or was altered, or its project has no predictor.
    """
    predictors = []
    for folder in folders:
        # The run names its project, which this package does not know.
        project = read_run(folder).config["project"]
        try:
            module = import_module(f"{project}.predictor")
        except ModuleNotFoundError:
            raise UserError(
                f"{folder}: is a run of {project}, which has no predictor.py; show it a run of "
                "another project"
            ) from None
        predictors.append(module.open_predictor(folder))
    return predictors


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on the loopback interface.

    Raises:
        UserError: The port is taken, or may not be used.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()  # from now on a browser waits, and is not refused
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "it is no port"
            raise UserError(f"--port {port}: {why}; give another, or 0 for any free one") from None
        yield listener


def _arguments() -> argparse.Namespace:
    parser = Parser("common.app", __doc__)
    parser.add_argument(
        "--run",
        action="append",
        required=True,
        type=Path,
        metavar="RUN",
        help="a finished run; give it several times for several",
    )
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (8000)")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that read files; 0: one per core (0)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
