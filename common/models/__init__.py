"""The networks, in plain Keras 3: a saved model loads without custom objects."""
