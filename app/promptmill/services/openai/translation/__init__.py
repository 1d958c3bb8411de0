"""Translation of OpenAI's requests to Ollama's; pure, and every field is accounted for."""
