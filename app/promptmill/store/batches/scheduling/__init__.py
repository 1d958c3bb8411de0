"""Statements of scheduling and forecasts on batches, which batches can run without."""
