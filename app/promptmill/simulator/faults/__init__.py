"""Faults on purpose, refusals and access checks."""
