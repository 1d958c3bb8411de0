"""Promptmill: the batch service for Ollama (see ARCHITECTURE.md for the layers)."""
