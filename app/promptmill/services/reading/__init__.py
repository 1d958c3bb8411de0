"""What is read of batches beyond one and its results: at a glance, by search, in single prompts."""
