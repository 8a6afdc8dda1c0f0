"""Where datasets lie, and the generator of the built-in synthetic sample."""
