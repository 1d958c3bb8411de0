"""Resolution of names of batches and benchmarks: an id, its beginning, a label, or `@last`.

A text with the form of a whole id is sent to the service; any other is searched in the list, newest
first, and a label takes precedence over the beginning of an id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail
from promptmill.display.texts import local_time, one_line

if TYPE_CHECKING:
    from promptmill.client import (
        BatchPage,
        BatchSummary,
        BenchmarkPage,
        BenchmarkSummary,
        Promptmill,
    )

_WHOLE: Final = re.compile(r"[a-z]+_[0-9a-hjkmnp-tv-z]{26}")
_PLACE: Final = re.compile(r"@(last|[1-9][0-9]{0,8})")
_PAGE: Final = 1000
_MOST_TOLD: Final = 5


def batch_named(client: Promptmill, name: str) -> str:
    """Find the id of the batch that a user means by `name`.

    Raises:
        typer.Exit: There is no such batch, or more than one.
    """

    def page(limit: int, cursor: str | None, label: str | None = None) -> BatchPage:
        return client.list_batches(limit=limit, cursor=cursor, label=label)

    def labelled() -> Iterator[BatchSummary | BenchmarkSummary]:
        return _listed(lambda limit, cursor: page(limit, cursor, name), _PAGE)

    return _named(name, "batch", page, labelled)


def benchmark_named(client: Promptmill, name: str) -> str:
    """Find the id of the benchmark that a user means by `name`.

    Raises:
        typer.Exit: There is no such benchmark, or more than one.
    """

    def page(limit: int, cursor: str | None) -> BenchmarkPage:
        return client.benchmarks.list(limit=limit, cursor=cursor)

    def labelled() -> Iterator[BatchSummary | BenchmarkSummary]:
        return (one for one in _listed(page, _PAGE) if one.label == name)

    return _named(name, "bench", page, labelled)


def _named(
    name: str,
    prefix: str,
    page: Callable[[int, str | None], BatchPage | BenchmarkPage],
    labelled: Callable[[], Iterator[BatchSummary | BenchmarkSummary]],
) -> str:
    if _WHOLE.fullmatch(name):
        return name
    kind = "batch" if prefix == "batch" else "benchmark"
    if name.startswith("@"):
        return _at_place(name, kind, page)
    beginning = name if name.startswith(f"{prefix}_") else f"{prefix}_{name}"
    found = list(labelled()) if name else []
    what = f"is the label of {len(found)}; write one of their ids:"
    if name and not found:
        found = [one for one in _listed(page, _PAGE) if one.id.startswith(beginning)]
        what = f"may be one of {len(found)}; write more of the id:"
    if not found:
        fail(f"there is no {kind} whose label is {name!r}, or whose id begins so")
        raise typer.Exit(exit_codes.REFUSED)
    if len(found) > 1:
        more = [f"and {len(found) - _MOST_TOLD} more"] if len(found) > _MOST_TOLD else []
        fail(f"{name!r} {what}", *(_told(one, name) for one in found[:_MOST_TOLD]), *more)
        raise typer.Exit(exit_codes.REFUSED)
    return found[0].id


def _at_place(
    name: str, kind: str, page: Callable[[int, str | None], BatchPage | BenchmarkPage]
) -> str:
    place = _PLACE.fullmatch(name)
    if place is None:
        raise typer.BadParameter(f"{name} is no place: @last is the newest, @2 the one before it")
    number = 1 if place[1] == "last" else int(place[1])
    listed = _listed(page, min(number, _PAGE))
    found = next(islice(listed, number - 1, None), None)
    if found is None:
        fail(f"{name}: there is no {kind}" + ("" if number == 1 else " so far back"))
        raise typer.Exit(exit_codes.REFUSED)
    return found.id


def _listed(
    page: Callable[[int, str | None], BatchPage | BenchmarkPage], limit: int
) -> Iterator[BatchSummary | BenchmarkSummary]:
    """Yield all of them, newest first, requested page by page as they are consumed."""
    cursor = None
    while True:
        asked = page(limit, cursor)
        yield from asked.data
        if (cursor := asked.next_cursor) is None:
            return


def _told(one: BatchSummary | BenchmarkSummary, name: str) -> str:
    label = "" if one.label == name else one_line(one.label, 60)
    return "  ".join(filter(None, [one.id, one.status, local_time(one.created_at), label]))
