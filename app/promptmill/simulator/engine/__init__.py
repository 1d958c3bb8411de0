"""The simulated models: catalogue, scheduler, runners and answers."""
