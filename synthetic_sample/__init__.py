"""The generator of the built-in synthetic sample."""
