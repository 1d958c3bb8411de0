"""Connections to a service, and running one."""
