"""Simulated faults, refusals and access checks."""
