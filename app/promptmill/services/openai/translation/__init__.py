"""From requests of OpenAI to those of Ollama: pure, and every field is accounted for."""
