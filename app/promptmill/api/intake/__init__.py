"""Request bodies on their way in: received, decoded, checked."""
