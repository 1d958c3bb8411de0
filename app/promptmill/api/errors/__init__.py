"""Violations of a request and errors of the service, as problem documents."""
