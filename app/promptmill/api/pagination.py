"""Cursors: where the next page begins, as a text that clients only hand back.

They are encoded so that nobody builds one by hand and comes to depend on what is inside.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from promptmill.api.errors.violations import Faults

_INDEX = re.compile(r"after:(\d{1,9})")
_BATCH = re.compile(r"before:(batch_[0-9a-z]{1,64})")
_BENCHMARK = re.compile(r"before:(bench_[0-9a-z]{1,64})")
LONGEST_CURSOR: Final = 200


def result_cursor(next_after: int | None) -> str | None:
    """The cursor of the results after that index; None stays None."""
    return None if next_after is None else _encode(f"after:{next_after}")


def after_index(cursor: str | None) -> int | None:
    """The index after which the page of results begins.

    Raises:
        Invalid: It is no cursor of results.
    """
    return None if cursor is None else int(_decode(cursor, _INDEX))


def batch_cursor(next_cursor: str | None) -> str | None:
    """The cursor of the batches before that one; None stays None."""
    return None if next_cursor is None else _encode(f"before:{next_cursor}")


def before_batch(cursor: str | None) -> str | None:
    """The id of the batch before which the page begins.

    Raises:
        Invalid: It is no cursor of batches.
    """
    return None if cursor is None else _decode(cursor, _BATCH)


def benchmark_cursor(next_cursor: str | None) -> str | None:
    """The cursor of the benchmarks before that one; None stays None."""
    return batch_cursor(next_cursor)


def before_benchmark(cursor: str | None) -> str | None:
    """The id of the benchmark before which the page begins.

    Raises:
        Invalid: It is no cursor of benchmarks.
    """
    return None if cursor is None else _decode(cursor, _BENCHMARK)


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def _decode(cursor: str, form: re.Pattern[str]) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found = form.fullmatch(text)
    if found is None:
        faults = Faults()
        faults.add(("query", "cursor"), "must be the `next_cursor` of the page before, unchanged")
        faults.raise_if_any()
        raise AssertionError  # The line above has raised.
    return found[1]
