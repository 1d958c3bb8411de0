"""Exit statuses of commands; part of the command line's contract (docs/cli.md)."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0
"""Success; of a batch or benchmark: every prompt or run has an answer."""
NOT_ALL_SUCCEEDED: Final = 1
"""The batch or benchmark ended, but some prompts or runs have no answer; of `db check`: the schema
is not current."""
REFUSED: Final = 2
"""Wrong usage, a wrong setting, an input that cannot be read, or the service refused."""
UNREACHABLE: Final = 3
"""The service (or its database) cannot be reached, or its response is invalid."""
SLOWER: Final = 4
"""With `bench --fail-if-slower`: every run has an answer, and a latency has grown too much."""
WORKER_ENDED: Final = 5
"""A part of the worker of `serve` or `worker` has ended before a stop."""
INTERRUPTED: Final = 130
"""Ctrl-C, as in shells: 128 and SIGINT."""
