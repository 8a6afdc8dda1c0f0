"""The repository's common/ for scripts started by path, whatever the PYTHONPATH leads to first."""

import importlib
import sys
from pathlib import Path

# A script finds this module first, in its own folder, and gets the package in its place.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module("common")
