"""Several processes that train as one, on one host or on several: ``train.py --hosts``.

Keras on JAX divides every batch among the devices of all (``keras.distribution.DataParallel``); a
process is a rank, and the first, rank 0, prints and writes. What all do together, the ranks have to
do in the same order.

https://docs.jax.dev/en/latest/multi_process.html
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from common.base.environment import RANK
from common.base.errors import UserError

AUTO = "auto"
"""Have Slurm or Open MPI say which rank this is."""

_PLACE = re.compile(r"(\[[\da-fA-F:.]+\]|[^\s/:,\[\]]+):(\d{1,5}),(\d{1,5}),(\d{1,5})")
# Ports that Linux gives to nobody by itself, for the coordinator of a job.
_PORTS = range(61440, 65536)
# What srun sets of a job step, and what mpirun sets of a process: man srun, man mpirun.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS")
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
# What names a job of Open MPI, of version 5 and of version 4.
_OPEN_MPI_JOB = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_hnp_uri")
# Seconds to wait for the ranks to come, after which a silent one has gone, and for all to leave.
_COME_S, _SILENT_S, _LEAVE_S = 300, 60, 60


class Rank(NamedTuple):
    """One of the processes that train as one.

    Attributes:
        coordinator: ``HOST:PORT`` of rank 0, where all find each other.
        ranks: How many there are.
        number: Which this is, from 0.
    """

    coordinator: str
    ranks: int
    number: int


def rank_of(hosts: str, environment: Mapping[str, str]) -> Rank:
    """The rank that ``--hosts`` names.

    Args:
        hosts: ``COORDINATOR:PORT,N,I``, or `AUTO`.
        environment: The variables of Slurm's srun or Open MPI's mpirun, where it is `AUTO`.

    Raises:
        UserError: It names none, or no launcher says which this is.
    """
    if hosts != AUTO:
        parts = _PLACE.fullmatch(hosts)
        if parts is None or int(parts[4]) >= int(parts[3]):
            raise UserError(
                f"--hosts must be auto, or COORDINATOR:PORT,N,I with I from 0 to N - 1, such as "
                f"node1:61440,2,0. Received: {hosts}"
            )
        return Rank(f"{parts[1]}:{parts[2]}", int(parts[3]), int(parts[4]))
    if "SLURM_PROCID" in environment and set(environment).issuperset(_SLURM):
        job, step, nodes, ranks = (environment[name] for name in _SLURM)
        place = f"{_first_node(nodes)}:{_port(f'{job}.{step}')}"
        return Rank(place, int(ranks), int(environment["SLURM_PROCID"]))
    if set(environment).issuperset(_OPEN_MPI):
        count, number, here = (int(environment[name]) for name in _OPEN_MPI)
        job = next(filter(None, map(environment.get, _OPEN_MPI_JOB)), "")
        host = "127.0.0.1" if here == count else _mpirun(environment)
        if job and host:
            return Rank(f"{host}:{_port(job)}", count, number)
        raise UserError(
            "--hosts auto: this Open MPI does not say where rank 0 is; have mpirun start sh -c "
            "'... --hosts NODE:61440,$OMPI_COMM_WORLD_SIZE,$OMPI_COMM_WORLD_RANK', NODE its first"
        )
    raise UserError(
        "--hosts auto: neither Slurm's srun nor Open MPI's mpirun has started this; start it with "
        "one of them, or give COORDINATOR:PORT,N,I"
    )


def present() -> Rank | None:
    """The rank that this process is; None where it trains by itself."""
    text = os.environ.get(RANK)
    return rank_of(text, {}) if text else None


def is_first() -> bool:
    """Whether this process prints and writes: it is by itself, or rank 0."""
    rank = present()
    return rank is None or rank.number == 0


def own_rows(batch: int) -> slice:
    """The rows of a batch that this process reads and computes, which the devices divide evenly."""
    rank = present()
    if rank is None:
        return slice(0, batch)
    return slice(*(batch * number // rank.ranks for number in (rank.number, rank.number + 1)))


def _first_node(nodes: str) -> str:
    """The first of Slurm's list of nodes, such as ``gpu[01-03,07],login1``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0]) if first else nodes


def _mpirun(environment: Mapping[str, str]) -> str:
    """The address of Open MPI 4's mpirun, on whose host rank 0 is; "" where it is not told."""
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    address = re.search(r"tcp://([^,:]+)|tcp6://\[([^,\]]+)", uri)
    return (address[1] or f"[{address[2]}]") if address else ""


def _port(job: str) -> int:
    return _PORTS[zlib.crc32(job.encode()) % len(_PORTS)]


# ---- What the ranks do together


def join() -> None:
    """Find the other ranks, before JAX looks for devices.

    Raises:
        UserError: The ranks have different numbers of devices.
    """
    rank = present()
    if rank is None:
        return
    import jax

    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        rank.coordinator,
        rank.ranks,
        rank.number,
        cluster_detection_method="deactivate",
        coordinator_bind_address=rank.coordinator if _is_this_host(rank.coordinator) else None,
        initialization_timeout=_COME_S,
        heartbeat_timeout_seconds=_SILENT_S,
        shutdown_timeout_seconds=_LEAVE_S,
    )
    if jax.device_count() != jax.local_device_count() * rank.ranks:
        raise UserError(
            f"--hosts: this process has {jax.local_device_count()} devices of "
            f"{jax.device_count()}; show every one as many (CUDA_VISIBLE_DEVICES)"
        )


def divide_batches() -> None:
    """Let Keras divide the batches of each rank among its devices, and sum over all."""
    import jax
    import keras
    import numpy as np

    # Each reads its own rows.
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    meet()
    layout = distribution.get_data_layout((jax.device_count(),)).backend_layout
    ones = np.ones(jax.local_device_count(), np.float32)
    jax.make_array_from_process_local_data(layout, ones).sum().block_until_ready()


def _is_this_host(coordinator: str) -> bool:
    return coordinator.startswith(("127.", "localhost:", "[::1]:"))


def device_count() -> int:
    """The devices that a batch is divided among: those of all ranks; 1 for a process by itself."""
    if present() is None:
        return 1
    import jax

    return int(jax.device_count())


def any_of(number: int) -> int:
    """The largest of the ranks' numbers, 0 or more, such as that of a signal that came to one."""
    return max(_of_all(number))


def of_first(number: int) -> int:
    """The number that rank 0 gives."""
    return _of_all(number)[0]


def meet() -> None:
    """Wait for the other ranks: what the first has written before, they find."""
    _of_all(0)


def refuse_others(key: str) -> None:
    """Refuse ranks that are not as the first.

    Args:
        key: Hexadecimal digits of what they have in common.

    Raises:
        UserError: Another rank has another key.
    """
    keys = _of_all(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    others = [str(number) for number, other in enumerate(keys) if other != keys[0]]
    if others:
        raise UserError(
            f"--hosts: rank {', '.join(others)} has other settings, data, versions or code than "
            "rank 0; start all with the same command, from the same commit"
        )


def leave() -> bool:
    """Part from the other ranks; whether this one, the first, goes on alone."""
    if present() is not None:
        import jax
        import keras

        meet()
        keras.distribution.set_distribution(None)
        jax.distributed.shutdown()
    return is_first()


def _of_all(number: int) -> list[int]:
    """A number (below 2**31) of each rank, by rank."""
    if present() is None:
        return [number]
    import numpy as np
    from jax.experimental import multihost_utils

    return [int(each) for each in np.ravel(multihost_utils.process_allgather(np.int32(number)))]
