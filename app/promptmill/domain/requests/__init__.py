"""Rules of request bodies: arguments, fields of Ollama, ids, lines."""
