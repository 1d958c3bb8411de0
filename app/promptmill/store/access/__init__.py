"""API keys and sessions of browsers."""
