"""The queue: prompts are enqueued, claimed, completed and changed in bulk."""
