"""Scores in NumPy, SciPy and scikit-learn alone: they read saved predictions, no network."""
