"""Progress, tables and exit codes."""
