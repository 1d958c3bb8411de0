"""Charts of a benchmark report, drawn by Plotly."""
