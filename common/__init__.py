"""What the three projects share: loaders, splits, records, models, fitting, scores, pictures."""

import os
import sys

# TensorFlow's C++ start-up lines bury what a script says; errors still come through Python.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Pictures go to files. A shell that a notebook started names a backend that may not be installed
# here, under which matplotlib can't be imported. Within a notebook it stays.
if "IPython" not in sys.modules:
    os.environ.pop("MPLBACKEND", None)
