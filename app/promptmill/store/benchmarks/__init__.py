"""Benchmarks: stored, leased to a worker, their runs recorded."""
