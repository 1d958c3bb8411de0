"""Display of results in notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Final

from promptmill.contract.results import Result
from promptmill.display import html

_ROWS: Final = 20


class AsyncShown:
    """Base class of asyncio results, which a notebook cannot show without an event loop."""


class Shown(ABC):
    """Base class of results whose first rows a notebook shows."""

    @abstractmethod
    def __iter__(self) -> Iterator[Result]: ...

    def _repr_html_(self) -> str:
        """Table of the first results, with long texts cut."""
        first = list(islice(iter(self), _ROWS + 1))
        more = f"The first {_ROWS}; to_pandas() has all of them." if len(first) > _ROWS else ""
        return html.results(first[:_ROWS], more)
