"""Prompts made of rows: columns, templates, ids, OpenAI's batch lines.

`PromptFile` reads a file with `promptmill.rows` and makes a prompt of each row. docs/rows.md
describes the options. The package knows neither HTTP nor the terminal.
"""

from __future__ import annotations

from promptmill.prompts.columns import Columns, Prompt
from promptmill.prompts.results import format_of_output, write_results
from promptmill.prompts.source import PromptFile
from promptmill.prompts.templates import Template

__all__ = ["Columns", "Prompt", "PromptFile", "Template", "format_of_output", "write_results"]
