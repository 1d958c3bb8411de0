"""Errors of requests and of the service, as problem documents."""
