"""Checks of a finished answer: JSON Schemas and other requirements of the prompt."""
