"""Commands for whoever runs the service; they work on its database and settings directly."""
