"""Service functions for sessions of browsers."""
