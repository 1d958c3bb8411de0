"""Batches as a whole: stored, read, steered, followed."""
