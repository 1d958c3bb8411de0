"""Parts of `promptmill bench`: options, waiting, comparison, output."""
