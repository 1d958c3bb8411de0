"""Who may do what: API keys, and the names under which the service is reached."""
