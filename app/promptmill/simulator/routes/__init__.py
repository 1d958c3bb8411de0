"""The routes of the simulated server."""
