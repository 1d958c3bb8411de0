"""The rules of the service, pure: no I/O, no clock, no randomness, the standard library only."""
