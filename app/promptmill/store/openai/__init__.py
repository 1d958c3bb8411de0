"""Files and batches of the OpenAI dialect; their jobs are in `batches` and `queue`."""
