"""Logs, and later metrics."""
