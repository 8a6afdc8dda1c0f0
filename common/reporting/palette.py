"""The one palette of all figures.

Blue is the truth and vermilion red the prediction, on film and in charts alike. The two, and the
colour of a second network, differ in lightness too, so that they can be told apart without colour
vision and in print; in charts they differ in their markers as well.
"""

TRUTH = "#4da3ff"
PREDICTION = "#ff4b33"
SECOND = "#00695c"
"""The second network, next to `PREDICTION`."""
THIRD = "#8e44ad"
"""The third."""
FOURTH = "#6d4c41"
"""The fourth."""
INK = "#1f2933"
GREY = "#8896a5"
"""Trivial baselines and chance."""
MARK = "#ffd166"
"""The word SYNTHETIC on black."""
