"""What a worker tells: metrics, counts of its calls, log lines and reports about its hosts."""
