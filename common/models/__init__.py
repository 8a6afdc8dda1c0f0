"""The networks, in plain Keras 3: a saved model loads anywhere, without custom objects."""
