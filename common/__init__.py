"""What the three projects share: loaders, splits, records, models, fitting, scores, pictures."""

import os

# TensorFlow's C++ start-up lines bury what a script says; errors still come through Python.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
