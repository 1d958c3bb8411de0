"""Requests to the service: how each is built and its response read. No I/O."""
