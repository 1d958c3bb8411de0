"""What the exit status of a command says; part of the command line's contract (docs/cli.md)."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0
"""It was done; of a batch: every prompt has an answer."""
NOT_ALL_SUCCEEDED: Final = 1
"""The batch ended, but some prompts have no answer; of `db check`: the schema is not current."""
REFUSED: Final = 2
"""Wrong usage, a wrong setting, an input that cannot be read, or the service refused."""
UNREACHABLE: Final = 3
"""The service (or its database) cannot be reached, or answers in a way that makes no sense."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells have it: 128 and SIGINT."""
