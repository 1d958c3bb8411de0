"""Ollama hosts and workers in the database: loaded models, exclusivity, reports."""
