"""The failure table: how a call to Ollama can fail, and what that means for a prompt."""
