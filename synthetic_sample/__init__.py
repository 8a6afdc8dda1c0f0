"""The generator of the built-in synthetic sample."""

VERSION = 4
"""Raised when the generator draws something else, so that an older sample is made again."""
