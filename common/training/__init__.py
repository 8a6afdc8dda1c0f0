"""Batches, augmentation, losses; fit, stop, keep the best, go on after a kill; a run's folder."""
