"""Requests to the service: how each is built and its response read, without I/O."""
