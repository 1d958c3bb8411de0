"""The worker: one role a file, each a `run_once` with a loop around it."""
