"""What the service tells of itself to those who watch over it."""
