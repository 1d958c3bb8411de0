"""The worker: one role per file, each with a `run_once` that a loop repeats."""
