"""What scheduling and forecasts read and write about batches; no batch needs it to run."""
