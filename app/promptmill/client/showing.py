"""How results look in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Final

from promptmill.contract.results import Result
from promptmill.display import html

_ROWS: Final = 20


class AsyncShown:
    """Results that only an event loop can ask for: they show nothing of themselves."""


class Shown(ABC):
    """Results that show the first of them."""

    @abstractmethod
    def __iter__(self) -> Iterator[Result]: ...

    def _repr_html_(self) -> str:
        """A table of the first results, texts cut."""
        first = list(islice(iter(self), _ROWS + 1))
        more = f"The first {_ROWS}; to_pandas() has all of them." if len(first) > _ROWS else ""
        return html.results(first[:_ROWS], more)
