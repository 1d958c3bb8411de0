"""The tables as SQLModel sees them; private to the store, rows never leave it."""
