"""Cursors: opaque positions of the next page, which clients send back.

They are encoded so that clients do not build them and depend on their content.
"""

from __future__ import annotations

import base64
import binascii
import re

from promptmill.api.errors.violations import Faults

_INDEX = re.compile(r"after:(\d{1,9})")
_BATCH = re.compile(r"before:(batch_[0-9a-z]{1,64})")
_BENCHMARK = re.compile(r"before:(bench_[0-9a-z]{1,64})")


def result_cursor(next_after: int | None) -> str | None:
    """Cursor of the results after an index; None stays None."""
    return None if next_after is None else _encode(f"after:{next_after}")


def after_index(cursor: str | None) -> int | None:
    """Index after which the page of results begins.

    Raises:
        Invalid: The text is not a cursor of results.
    """
    return None if cursor is None else int(_decode(cursor, _INDEX))


def batch_cursor(next_cursor: str | None) -> str | None:
    """Cursor of the batches before a batch; None stays None."""
    return None if next_cursor is None else _encode(f"before:{next_cursor}")


def before_batch(cursor: str | None) -> str | None:
    """Id of the batch before which the page begins.

    Raises:
        Invalid: The text is not a cursor of batches.
    """
    return None if cursor is None else _decode(cursor, _BATCH)


def benchmark_cursor(next_cursor: str | None) -> str | None:
    """Cursor of the benchmarks before a benchmark; None stays None."""
    return batch_cursor(next_cursor)


def before_benchmark(cursor: str | None) -> str | None:
    """Id of the benchmark before which the page begins.

    Raises:
        Invalid: The text is not a cursor of benchmarks.
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
