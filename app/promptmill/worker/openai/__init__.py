"""The OpenAI dialect in the worker: files are read into batches, and written of their results."""
