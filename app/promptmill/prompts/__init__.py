"""Prompts made of rows: which column is the text, templates, ids, OpenAI's batch lines.

`PromptFile` reads a file with `promptmill.rows` and makes a prompt of each row. docs/rows.md tells
what can be said about columns. This package knows nothing of HTTP and of the terminal.
"""

from __future__ import annotations

from promptmill.prompts.columns import Columns, Prompt
from promptmill.prompts.results import format_of_output, write_results
from promptmill.prompts.source import PromptFile
from promptmill.prompts.templates import Template

__all__ = ["Columns", "Prompt", "PromptFile", "Template", "format_of_output", "write_results"]
