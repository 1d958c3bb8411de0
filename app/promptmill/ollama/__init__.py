"""Communication with Ollama: the client, the failure table, and the state of a host."""
