"""The worker's scheduling: host allocation, model switching, prefix affinity, adaptive limits."""
