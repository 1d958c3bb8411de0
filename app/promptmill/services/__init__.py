"""Use cases: one function is one thing that a caller can ask for, and one transaction."""
