"""Model downloads (`auto_pull`): batches that wait for them, and the lease of each."""
