"""Use cases of access: API keys, and the sessions of browsers."""
