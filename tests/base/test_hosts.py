"""Which rank --hosts names, and which part of a batch a rank takes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from common.base import hosts
from common.base.environment import RANK
from common.base.errors import UserError
from common.base.hosts import Rank, rank_of
from common.base.settings import SharedTrain
from common.training import augment, pipeline
from tests.helpers.scripts import PROJECTS, refused

SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NODELIST": "gpu[007-009,012],login1",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "prterun-node1-4711@1",
}  # fmt: skip


# ---- Which rank


@pytest.mark.parametrize("place", ["node1:61440", "10.0.0.1:1", "[fe80::1]:9000", "a.b-c.org:80"])
def test_a_rank_that_is_named(place):
    assert rank_of(f"{place},4,3", {}) == Rank(place, 4, 3)


@pytest.mark.parametrize(
    "text",
    ["node1", "node1:80", "node1:80,2", "node1:80,2,2", ":80,2,0", "a:b,2,0", "node1:80,2,-1"],
)
def test_what_names_no_rank_is_refused(text):
    with pytest.raises(UserError, match=r"must be auto, or COORDINATOR:PORT,N,I .* Received: "):
        rank_of(text, {})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[007-009,012],login1", "gpu007"),
        ("gpu[3,5]", "gpu3"),
        ("node1,node2", "node1"),
        ("node1", "node1"),
        ("rack[1-2]n[01-04],x", "rack1n01"),
    ],
)
def test_slurm_says_which_rank_this_is(nodes, first):
    rank = rank_of("auto", {**SLURM, "SLURM_STEP_NODELIST": nodes})
    host, _, port = rank.coordinator.partition(":")
    assert (host, rank.ranks, rank.number) == (first, 8, 3)
    assert 61440 <= int(port) < 65536
    # All of a step meet, and two steps of a job do not.
    assert rank_of("auto", {**SLURM, "SLURM_PROCID": "0"}).coordinator.endswith(f":{port}")
    assert not rank_of("auto", {**SLURM, "SLURM_STEP_ID": "1"}).coordinator.endswith(f":{port}")


def test_open_mpi_says_which_rank_this_is():
    rank = rank_of("auto", OPEN_MPI)
    assert (rank.coordinator.partition(":")[0], rank.ranks, rank.number) == ("127.0.0.1", 4, 2)
    several = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    uri = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"}
    assert rank_of("auto", several | uri).coordinator.startswith("10.96.0.1:")
    uri = {"OMPI_MCA_orte_hnp_uri": "1314521088.0;tcp6://[fe80::b9b,2620::2]:43370"}
    assert rank_of("auto", several | uri).coordinator.startswith("[fe80::b9b]:")
    with pytest.raises(UserError, match=r"NODE:61440,\$OMPI_COMM_WORLD_SIZE"):
        rank_of("auto", several)


@pytest.mark.parametrize("absent", sorted(SLURM.keys() - {"SLURM_LOCALID"}))
def test_auto_without_a_launcher_is_refused(absent):
    with pytest.raises(UserError, match="neither Slurm's srun nor Open MPI's mpirun"):
        rank_of("auto", {name: value for name, value in SLURM.items() if name != absent})


def test_hosts_need_a_run_and_jax(tmp_path):
    with pytest.raises(UserError, match="--run must be named with --hosts"):
        SharedTrain(hosts="auto")
    line = refused(PROJECTS[0], "train", "--hosts", "a:1,2,0", "--run", tmp_path / "run")
    assert line == "error: --hosts: trains with Keras on JAX; set KERAS_BACKEND=jax"
    assert not (tmp_path / "run").exists()


# ---- Its part


@given(st.integers(1, 12), st.integers(1, 8))
def test_the_ranks_take_every_row_once_and_as_many_each(count, rows):
    batch = np.arange(count * rows)
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for number in range(count):
            patch.setenv(RANK, f"node1:80,{count},{number}")
            parts.append(batch[hosts.own_rows(len(batch))])
    np.testing.assert_array_equal(np.concatenate(parts), batch)
    assert {len(part) for part in parts} == {rows}
    assert batch[hosts.own_rows(len(batch))].tolist() == batch.tolist()


def batches(rows=slice(None), alpha=0.0):
    """Two epochs of numbers with what is drawn for them, with the mean of two where mixed."""
    ranges = augment.Ranges(
        rotation_degrees=9, flip=True, elastic=0.1, bias=0.1, noise=0.1, blur=0.1
    )

    def to_inputs(batch, seed):
        draws = augment.draw(ranges, 8, seed, slice(None) if alpha else rows)
        values = {**draws, "number": tf.cast(batch["number"], tf.float32)}
        if alpha:
            mixed = augment.mix({"number": values["number"]}, alpha, seed)
            values = {name: value[rows] for name, value in {**values, **mixed}.items()}
        return values

    samples = pipeline.in_memory({"number": np.arange(27)})
    read = slice(None) if alpha else rows
    training = pipeline.Training(samples, 8, 5, 2, to_inputs, read)
    return list(training.batches(0, 1).as_numpy_iterator())


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_what_the_ranks_read_and_draw_is_what_one_would(alpha):
    whole = batches(alpha=alpha)
    parts = [batches(slice(start, start + 4), alpha) for start in (0, 4)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 7
    for expected, *found in zip(whole, *parts, strict=True):
        assert len(found[0]["number"]) == 4
        for name in expected:
            together = np.concatenate([part[name] for part in found])
            np.testing.assert_array_equal(together, expected[name], err_msg=name)
