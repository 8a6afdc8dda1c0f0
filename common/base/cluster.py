"""Calls on the workers of a dask cluster, each of which is as this process is, or is refused.

dask is an extra (``cluster``). It runs whatever its two sides send each other, so beyond this
machine both must show a certificate (https://distributed.dask.org/en/stable/tls.html).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import hashlib
import ipaddress
import logging
import pickle
import re
import socket
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common.base.errors import UserError
from common.base.files import ROOT, versions

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local:"
"""What an address begins with that asks for workers on this machine."""

TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
"""The files of ``--cluster-tls``: the authority, this side's certificate, and its key."""

# Packages of the repository that no call is of; datasets lie in the first.
_NOT_CALLED = ("data", "tests")
# What dask raises where there is no scheduler any more.
_GONE = (OSError, TimeoutError, concurrent.futures.CancelledError, asyncio.CancelledError)
# Packages beside those of requirements.txt that decide what is written, or whether calls arrive.
_FURTHER_PACKAGES = ("SimpleITK", "dask", "distributed")
# Seconds to wait for a scheduler that does not answer, and for a first or another worker.
_ANSWER_S, _WORKER_S = 15.0, 60.0
# Seconds between two looks at whether there are workers.
_LOOK_S = 5.0
# Calls that are handed over ahead, for each thread of the workers.
_AHEAD = 2
# How often a call is handed over whose workers ended; each time dask itself tries several.
_TRIES = 3


class Place(NamedTuple):
    """Where a cluster is.

    Attributes:
        address: Of the scheduler, with its protocol; "" for one that is started here.
        workers: Their number, where they are started here.
        tls: The folder of `TLS_FILES`, if any.
    """

    address: str
    workers: int
    tls: Path | None


class Needs(NamedTuple):
    """What a worker has in common with the process that calls it.

    Attributes:
        versions: By name those of the code, of Python and of packages.
        folders: Are seen under these paths.
    """

    versions: Mapping[str, str]
    folders: tuple[Path, ...]


def place_of(cluster: str, tls: Path | None) -> Place | None:
    """The place that a setting names, which is not asked yet; None for "".

    Args:
        cluster: "", ``local:N``, or the scheduler's ``HOST:PORT``, after ``tcp://`` or ``tls://``.
        tls: The folder of `TLS_FILES`.

    Raises:
        UserError: dask is not installed, the setting names no place or one that other machines
            reach without TLS, or a file of TLS is missing.
    """
    if not cluster:
        return None
    if find_spec("distributed") is None:
        raise UserError(
            "--cluster: dask, which hands out the work, is not installed; "
            'pip install -e ".[cluster]" in this repository'
        )
    if cluster.startswith(LOCAL):
        number = cluster.removeprefix(LOCAL)
        if not re.fullmatch("[1-9][0-9]{0,3}", number):
            raise UserError(f"--cluster {cluster}: name a number of workers, such as local:4")
        if tls:
            raise UserError("--cluster-tls: is for a scheduler's address; local:N needs none")
        return Place("", int(number), None)
    parts = re.fullmatch(r"(?:(tcp|tls)://)?(\[[\da-fA-F:.]+\]|[^\s/:\[\]]+):(\d{1,5})", cluster)
    if parts is None:
        raise UserError(
            f"--cluster {cluster}: is neither local:N nor the address of a scheduler, "
            "such as tcp://127.0.0.1:8786 or tls://login1:8786"
        )
    address = f"{parts[1] or ('tls' if tls else 'tcp')}://{parts[2]}:{parts[3]}"
    if tls is None:
        _refuse_plain(address, f"--cluster {cluster}")
    elif parts[1] == "tcp":
        raise UserError(f"--cluster {cluster}: --cluster-tls needs an address with tls://")
    for name in TLS_FILES if tls else ():
        if not (Path(tls or "") / name).is_file():
            raise UserError(f"{tls}: has no {name}; --cluster-tls needs {', '.join(TLS_FILES)}")
    return Place(address, 0, tls)


@contextmanager
def connected(place: Place, folders: Sequence[Path]) -> Iterator[Cluster]:
    """A cluster that is asked, and whose workers fit; one that is started here ends with the block.

    Args:
        place: From `place_of`.
        folders: The absolute paths that calls read and write.

    Raises:
        UserError: Nothing answers, there is no worker, or one does not fit.
    """
    from distributed import Client, LocalCluster, Security

    _silence()
    security = None
    if place.tls:
        ca, certificate, key = (str(place.tls / name) for name in TLS_FILES)
        security = Security(
            tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
        )
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Of versions that differ, which are refused below.
        warnings.simplefilter("ignore")
        address: Any = place.address
        if place.workers:
            address = stack.enter_context(
                LocalCluster(
                    n_workers=place.workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = Client(address, security=security, timeout=_ANSWER_S)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{place.address}: no scheduler of dask answers there ({error}); start dask "
                "scheduler, and look at address and certificates"
            ) from None
        stack.callback(_close, client)
        cluster = Cluster(client, place, Needs(_versions(), tuple(folders)))
        cluster.check()
        yield cluster


class Cluster:
    """The workers of a cluster. Made by `connected`."""

    def __init__(self, client: Client, place: Place, needs: Needs) -> None:
        self._client, self._place, self._needs = client, place, needs

    def check(self) -> None:
        """Look at the scheduler and at every worker; print where they are.

        Raises:
            UserError: There is none, or one does not fit.
        """
        with self._scheduler():
            if not self._client.nthreads():
                print(f"{self._name}: has no workers yet; waits {_WORKER_S:.0f} s", flush=True)
                with suppress(TimeoutError):
                    self._client.wait_for_workers(1, timeout=_WORKER_S)
            workers = self._client.nthreads()
            if not workers:
                raise self._no_workers()
            info = self._client.scheduler_info()
            if not self._place.tls:
                for kind, address in (
                    ("scheduler", info["address"]),
                    *(("worker", address) for address in workers),
                ):
                    _refuse_plain(address, f"{kind} {address}")
            try:
                own: Any = self._client.run_on_scheduler(
                    _difference, Needs(self._needs.versions, ())
                )
            except (ImportError, AttributeError) as error:
                own = error
            answers = self._client.run(_difference, self._needs, on_error="return")
        for name, answer in (
            (f"scheduler {info['address']}", own),
            *((f"worker {worker}", answer) for worker, answer in sorted(answers.items())),
        ):
            if isinstance(answer, OSError):  # it has just ended
                continue
            if isinstance(answer, BaseException):
                raise UserError(
                    f"{name} cannot import this repository ({answer!r}); start it in its folder, "
                    "with PYTHONPATH=. and its packages installed"
                )
            if answer:
                raise UserError(f"{name} {answer}")
        threads = sum(workers.values())
        print(
            f"\ndask: {len(workers)} workers of {threads} threads, scheduler {info['address']}, "
            f"dashboard {self._client.dashboard_link}",
            flush=True,
        )

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Call a function on every item, once or, where a worker ends meanwhile, again.

        Args:
            function: Importable, and of no effect where it is called a second time.
            items: Its arguments; a few are handed over ahead.

        Yields:
            An item and its result, in the order in which results come.

        Raises:
            UserError: The scheduler has gone, there are no workers for a while, one that came
                later does not fit, or an item ended all workers that tried it.
            Exception: What a call raised.
        """
        from distributed import KilledWorker, wait

        waiting = list(reversed(items))
        running: dict[Future[Any], tuple[Any, int]] = {}

        def submit(item: Any, tries: int) -> None:
            name = f"{getattr(function, '__name__', 'call')}-{uuid.uuid4().hex}"
            # As bytes: the scheduler, which reads all that it hands on, imports nothing for it.
            call = pickle.dumps((function, item))
            future = self._client.submit(_call, self._needs, call, key=name, pure=False)
            running[future] = item, tries

        without = 0.0
        limit = 1
        while waiting or running:
            with self._scheduler():
                while waiting and len(running) < limit:
                    submit(waiting.pop(), 1)
                done: set[Future[Any]] = set()
                with suppress(TimeoutError):
                    done = wait(list(running), _LOOK_S, "FIRST_COMPLETED").done
                threads = sum(self._client.nthreads().values())
                limit = _AHEAD * max(threads, 1)
                without = 0.0 if threads or done else without + _LOOK_S
                if gone := [f.status for f in done if f.status in ("cancelled", "lost")]:
                    raise ConnectionError(gone[0])
                errors = {future: future.exception() for future in done}
                results = {f: f.result() for f, error in errors.items() if error is None}
            if without >= _WORKER_S:
                raise self._no_workers()
            for future, error in errors.items():
                item, tries = running.pop(future)
                if error is None:
                    yield item, results[future]
                elif not isinstance(error, KilledWorker):
                    raise error
                elif tries < _TRIES:
                    submit(item, tries + 1)
                else:
                    raise UserError(
                        f"{self._name}: each worker that has {getattr(item, 'name', 'a call')} to "
                        "do ends: is it killed for its memory? the same command goes on from here"
                    ) from None
            del done, errors, results  # what was handed over may go

    @property
    def _name(self) -> str:
        return self._place.address or f"{LOCAL}{self._place.workers}"

    def _no_workers(self) -> UserError:
        return UserError(
            f"{self._name}: has no workers; start some with dask worker ADDRESS, and the same "
            "command goes on"
        )

    @contextmanager
    def _scheduler(self) -> Iterator[None]:
        """Say in one line that the scheduler has gone; a call's own errors are not raised here."""
        try:
            yield
        except _GONE as error:
            raise UserError(
                f"{self._name}: the scheduler of dask has gone, or cannot be reached "
                f"({type(error).__name__}); start it again, and the same command goes on"
            ) from None


def _call(needs: Needs, call: bytes) -> Any:
    """A call, on a worker; one that came later than the check is checked here."""
    if difference := _difference(needs):
        from distributed import get_worker

        raise UserError(f"worker {get_worker().address} {difference}")
    function, item = pickle.loads(call)
    return function(item)


def _difference(needs: Needs) -> str:
    """How this worker differs from what is needed, in words; "" where it does not."""
    own, host = _versions(), socket.gethostname()
    others = [
        f"{name} {own.get(name) or 'not installed'} (here {version or 'not installed'})"
        for name, version in needs.versions.items()
        if own.get(name, "") != version
    ]
    if others:
        return f"on {host} has {', '.join(others)}; start it again with the same"
    unseen = [str(folder) for folder in needs.folders if not folder.is_dir()]
    if unseen:
        return f"on {host} does not see {', '.join(unseen)}; share the folders under the same paths"
    return ""


@functools.cache
def _versions() -> dict[str, str]:
    """What decides what a call writes: the commit, changes to it, Python and packages.

    As they are when this is first asked: a worker whose files change later has imported others.
    """
    pinned = ROOT / "requirements.txt"
    text = pinned.read_text(encoding="utf-8") if pinned.is_file() else ""
    names = (*re.findall(r"^([\w.-]+)==", text, re.MULTILINE), *_FURTHER_PACKAGES)
    packages = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {**versions(), "code": code_of(ROOT), **{name: packages.get(name, "") for name in names}}


def code_of(root: Path) -> str:
    """The hash of a repository's modules, 12 hexadecimal digits: changes that no commit has.

    Its datasets are not looked through, which may be millions of files.
    """
    digest = hashlib.sha256()
    for package in sorted(path.parent for path in root.glob("*/__init__.py")):
        for file in sorted(package.rglob("*.py")) if package.name not in _NOT_CALLED else ():
            digest.update(f"{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _refuse_plain(address: str, name: str) -> None:
    """Raise a `UserError` for an address that other machines reach, and that has no TLS."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    try:
        places = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        raise UserError(f"{name}: there is no host {host}") from None
    if not all(ipaddress.ip_address(place).is_loopback for place in places):
        raise UserError(
            f"{name}: other machines reach it, and dask runs what anyone sends who does; give "
            "--cluster-tls a folder of certificates (docs/cluster.md), or bind to 127.0.0.1"
        )


def _silence() -> None:
    """Hide the lines of dask on a lost worker or scheduler, which `Cluster` says in one."""
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _close(client: Client) -> None:
    with suppress(*_GONE):
        client.close(timeout=2)
