"""The client for ordinary code."""
