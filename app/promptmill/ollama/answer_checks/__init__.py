"""Checks of a complete answer: JSON Schemas and other requirements of the prompt."""
