"""The OpenAI dialect: requests in, answers out, and the files and batches between them."""
