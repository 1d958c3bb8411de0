"""Endpoints: each parses its request, calls a service function, and builds the response."""
