"""Metrics of the service for monitoring."""
