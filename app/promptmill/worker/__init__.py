"""Working off the queue: one role a file, each a `run_once` and a loop around it."""
