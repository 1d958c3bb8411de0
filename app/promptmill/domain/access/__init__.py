"""Rules of access: API keys, scopes, and the names under which the service is reached."""
