"""Roles of the OpenAI dialect: reading input files, and writing output files."""
