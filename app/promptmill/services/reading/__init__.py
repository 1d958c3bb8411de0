"""Service functions that read batches: overview, search, single prompts."""
