"""Prompts and options of commands."""
