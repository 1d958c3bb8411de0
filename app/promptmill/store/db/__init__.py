"""Engines, transactions, schema, and everything that differs between SQLite and PostgreSQL."""
