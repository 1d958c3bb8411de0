"""Addresses and settings of Ollama hosts, and what a worker reports of a host."""
