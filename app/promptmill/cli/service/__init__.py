"""Connections of commands to a service, and running a service."""
