"""Benchmarks: every stage next to a named alternative in the same run."""

# First, as in the scripts: it sets TensorFlow up, which a part may import through Keras.
import common  # noqa: F401
