"""Where datasets lie; the generator of the built-in sample is in synthetic_sample."""
