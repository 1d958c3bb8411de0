"""Service functions of the OpenAI dialect: requests, answers, files and batches."""
