"""Rules of request bodies: arguments, Ollama's fields, ids, lines."""
