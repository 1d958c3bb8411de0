"""Ollama's protocol on the wire, as Go reads and writes it."""
