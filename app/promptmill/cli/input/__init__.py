"""Prompts and options on their way in."""
