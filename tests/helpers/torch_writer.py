"""Files in the two formats of torch.save, written without PyTorch.

The formats: https://docs.pytorch.org/docs/stable/notes/serialization.html and, before 1.6,
torch/serialization.py's _legacy_save.
"""

import io
import pickle
import struct
import zipfile

import numpy as np

KINDS = {"float32": "FloatStorage", "int64": "LongStorage"}


class Named:
    """A class or function, by the name that a pickle calls it."""

    def __init__(self, module, name):
        self.place = f"{module}\n{name}\n".encode()

    def __call__(self):
        """Only so that a pickler takes it for a function."""


class Module:
    """A module as PyTorch pickles it whole: an object of a class that is not here."""

    def __init__(self, arrays, modules=None, kind="Module"):
        running = {name for name in arrays if name.startswith(("running", "num"))}
        self.kind = Named("torchxrayvision.models", kind)
        self.state = {
            "training": False,
            "_parameters": {k: v for k, v in arrays.items() if k not in running},
            "_buffers": {k: arrays[k] for k in running},
            "_modules": modules or {},
            "_backward_hooks": Call("collections", "OrderedDict"),
            "pathologies": {"Pneumonia", "Edema"},
        }


class Call:
    """What is called when the file is read."""

    def __init__(self, module, name, *arguments):
        self.function, self.arguments = Named(module, name), arguments


class _Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def __init__(self, file, is_old):
        super().__init__(file, 2)
        self.is_old, self.storages = is_old, {}

    def persistent_id(self, thing):
        if isinstance(thing, Module) and self.is_old:
            return None
        if isinstance(thing, tuple) and len(thing) == 2 and thing[0] is _Pickler:
            array, more = thing[1], ((None,) if self.is_old else ())
            key = str(len(self.storages))
            self.storages[key] = array
            kind = Named("torch", KINDS[str(array.dtype)])
            return ("storage", kind, key, "cpu", array.size, *more)
        return None

    def save_named(self, thing):
        self.write(pickle.GLOBAL + thing.place)
        self.memoize(thing)

    def save_call(self, thing):
        self.save_reduce(thing.function, thing.arguments, obj=thing)

    def save_module(self, thing):
        self.save_reduce(Named("copyreg", "_reconstructor"), (thing.kind, None, None), thing.state)

    def save_array(self, array):
        steps = tuple(step // array.itemsize for step in array.strides)
        numbers = np.lib.stride_tricks.as_strided(array, (array.size,), (array.itemsize,))
        hooks = Call("collections", "OrderedDict")
        storage = (_Pickler, numbers)
        of = (storage, 0, array.shape, steps, False, hooks)
        tensor = Call("torch._utils", "_rebuild_tensor_v2", *of)
        self.save_reduce(Named("torch._utils", "_rebuild_parameter"), (tensor, True, hooks))

    dispatch.update({Named: save_named, Call: save_call, Module: save_module})
    dispatch[np.ndarray] = save_array


def save(saved, path, is_old=False):
    """Write a state dict or a `Module` of arrays, as of today or as before PyTorch 1.6."""
    file = io.BytesIO()
    pickler = _Pickler(file, is_old)
    pickler.dump(saved)
    if is_old:
        head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little": True})]
        parts = [*head, file.getvalue(), pickle.dumps(list(pickler.storages), 2)]
        for array in pickler.storages.values():
            parts += [struct.pack("<q", array.size), array.tobytes()]
        path.write_bytes(b"".join(parts))
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", file.getvalue())
        for key, array in pickler.storages.items():
            archive.writestr(f"best/data/{key}", array.tobytes())
    return path
