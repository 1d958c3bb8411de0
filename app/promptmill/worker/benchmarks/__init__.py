"""Benchmarks in a worker: one at a time, with the host to itself."""
