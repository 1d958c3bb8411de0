"""Batches, results, benchmarks and hosts as the documents that clients read."""
