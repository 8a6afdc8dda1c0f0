"""Put back the two numpy names that imgaug 0.4.0 needs, when it is first looked for.

Read at every start of the interpreter, through the ``.pth`` file beside it: nothing but
``sys`` may be imported before imgaug is asked for.
"""

import sys


class _Imgaug040Finder:
    """A finder for the name ``imgaug`` alone; it serves once."""

    def find_spec(self, name, path=None, target=None):
        """Restore the names, step aside, and let the regular finders answer."""
        if name != "imgaug" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        _restore_names()
        # Asked again from the start, as the import system is now half-way through a list that
        # has just become shorter.
        from importlib.util import find_spec

        return find_spec(name)


def _restore_names():
    """Give ``np.sctypes`` and ``np.complex`` the values that they had in numpy 1."""
    import numpy as np

    if not hasattr(np, "sctypes"):
        np.sctypes = {
            "int": [np.int8, np.int16, np.int32, np.int64],
            "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
            "float": [np.float16, np.float32, np.float64, np.longdouble],
            "complex": [np.complex64, np.complex128, np.clongdouble],
            "others": [bool, object, bytes, str, np.void],
        }
    if not hasattr(np, "complex"):
        np.complex = complex


def register():
    """Put the finder first, so that it is asked before imgaug is found without it."""
    sys.meta_path.insert(0, _Imgaug040Finder())
