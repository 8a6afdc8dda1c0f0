"""What scripts import before they compute anything, for `tests.helpers.forked`."""

import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import pydicom  # noqa: F401
import sklearn.model_selection  # noqa: F401

from common.base.backend import import_tensorflow

import_tensorflow()
