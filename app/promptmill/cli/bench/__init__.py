"""What `promptmill bench` asks for, follows, compares and prints."""
