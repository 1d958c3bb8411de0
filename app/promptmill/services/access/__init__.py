"""Service functions for access: API keys, and the sessions of browsers."""
