"""The commands of `promptmill`, one file each; slow imports stand inside the functions."""
