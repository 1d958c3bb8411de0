"""Commands of `promptmill`, one file each; slow imports are inside the functions."""
