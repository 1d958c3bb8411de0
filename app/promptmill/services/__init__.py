"""Service functions: each serves one kind of request, in one transaction."""
