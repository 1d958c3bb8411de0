"""Ollama's wire protocol, as Go reads and writes it."""
