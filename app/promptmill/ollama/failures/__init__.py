"""The failure table: how a call to Ollama fails and what it means for a prompt."""
