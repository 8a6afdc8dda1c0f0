"""Arrays of PyTorch's files, read without PyTorch and without trust."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.base.errors import UserError
from common.models.torch_files import read_torch_arrays
from tests.helpers import needs, torch_writer


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype("f4"),
        "bn.bias": rng.normal(size=4).astype("f4"),
        "bn.num_batches_tracked": np.array(7),
        "fc.weight": rng.normal(size=(5, 4)).astype("f4").T,
    }


def equal(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("is_old", [False, True])
def test_what_is_written_is_read(arrays, tmp_path, is_old):
    path = torch_writer.save(arrays, tmp_path / "state.pt", is_old)
    equal(read_torch_arrays(path), arrays)
    parallel = {f"module.{name}": array for name, array in arrays.items()}
    equal(read_torch_arrays(torch_writer.save(parallel, path, is_old)), arrays)


@pytest.mark.torch
@pytest.mark.parametrize("is_new", [False, True])
def test_what_pytorch_writes_is_read(tmp_path, is_new):
    needs.package("torch")
    import torch

    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers, torch.nn.Sequential(torch.nn.Linear(4, 2)))
    module[0].weight.data = module[0].weight.data.permute(0, 1, 3, 2)
    expected = {name: value.numpy() for name, value in module.state_dict().items()}
    for saved in (module, module.state_dict(), {"state_dict": module.state_dict(), "epoch": 3}):
        path = tmp_path / "saved.pt"
        torch.save(saved, path, _use_new_zipfile_serialization=is_new)
        equal(read_torch_arrays(path), expected)


def test_nothing_that_a_file_names_is_called(tmp_path):
    made = tmp_path / "made"
    evil = {"conv.weight": torch_writer.Call("os", "mkdir", str(made))}
    with pytest.raises(UserError, match="holds no arrays"):
        read_torch_arrays(torch_writer.save(evil, tmp_path / "evil.pt"))
    assert not made.exists()
    # Pickle's own way to it works.
    pickle.loads(f"cos\nmkdir\n(V{made}\ntR.".encode())
    assert made.exists()


def archive(path, **entries):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(f"best/{name.replace('__', '/')}", content)
    return path


def tensor(start, shape, steps):
    file = io.BytesIO()
    pickler = torch_writer._Pickler(file, False)
    storage = (torch_writer._Pickler, np.zeros(6, "f4"))
    place = (storage, start, shape, steps, False, None)
    pickler.dump({"x": torch_writer.Call("torch._utils", "_rebuild_tensor_v2", *place)})
    return file.getvalue()


@pytest.mark.parametrize(
    ("start", "shape", "steps"),
    [(0, (7,), (1,)), (3, (2, 2), (2, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (10**9,), (0,))],
)
def test_a_tensor_that_reaches_past_its_numbers_is_refused(start, shape, steps, tmp_path):
    entries = {"data.pkl": tensor(start, shape, steps), "data__0": bytes(24)}
    with pytest.raises(UserError, match=r"bad\.pt: not readable .* reaches past its numbers"):
        read_torch_arrays(archive(tmp_path / "bad.pt", **entries))


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02K\x01.", bytes(range(256)) * 8])
def test_a_file_that_is_none_of_pytorch(content, tmp_path):
    (tmp_path / "no.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"no\.pt: not readable as a PyTorch file"):
        read_torch_arrays(tmp_path / "no.pt")


@given(place=st.floats(0, 1), value=st.integers(0, 255), is_old=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_changed_file_is_read_or_refused(place, value, is_old, tmp_path_factory):
    path = tmp_path_factory.mktemp("changed") / "state.pt"
    torch_writer.save({"a.weight": np.ones((2, 3), "f4")}, path, is_old)
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    try:
        read_torch_arrays(path)
    except UserError as error:
        assert str(path) in str(error)
