"""Charts of a benchmark report, drawn as SVG."""
