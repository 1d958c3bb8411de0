"""Documents: batches, results, benchmarks and hosts as JSON for clients."""
