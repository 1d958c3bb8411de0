"""Authentication and authorization of requests: callers, scopes, and rules for browsers."""
