"""Scheduling rules: load groups, prefix groups, forecasts, adaptive concurrency, downloads."""
