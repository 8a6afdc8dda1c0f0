"""Benchmarks: every stage next to a named alternative in the same run."""
