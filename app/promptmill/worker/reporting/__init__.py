"""Reporting of a worker: metrics, counts of its calls, log lines, reports on hosts."""
