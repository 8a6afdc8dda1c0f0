"""What the three projects share: loaders, splits, records, models, fitting, scores, pictures."""

import os
import platform
import sys
import traceback
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

# TensorFlow's C++ start-up lines bury what a script says; errors still come through Python.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow leaves oneDNN's kernels out on an x86 processor without AVX512-VNNI, where they train
# half as fast again as its own (python -m benchmarks kernels). Elsewhere they are its default.
if platform.machine().lower() in {"x86_64", "amd64"}:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Pictures go to files. A shell that a notebook started names a backend that may not be installed
# here, under which matplotlib can't be imported. Within a notebook it stays.
if "IPython" not in sys.modules:
    os.environ.pop("MPLBACKEND", None)


def _missing_package(error: BaseException | None) -> str:
    """The line for a package that is not installed; "" for any other error.

    A script that somebody else wrote, and a module of this repository, are none of it.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    files = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
    is_here = any((_ROOT / name).exists() for name in (package, f"{package}.py"))
    if is_here or not any(Path(file).is_relative_to(_ROOT) for file in files):
        return ""
    install = f"{sys.executable} -m pip install -r {_ROOT / 'requirements.txt'}"
    return f"error: {package} is not installed for this Python; start another, or run: {install}"


def _leave_without_package(hook=sys.excepthook):
    def leave(kind, error, trace):
        if line := _missing_package(error):
            print(line, file=sys.stderr)
            raise SystemExit(2)
        hook(kind, error, trace)

    return leave


# Here, since whatever script is started imports this first, and packages next.
sys.excepthook = _leave_without_package()
