"""Results of a batch for the asyncio client: one by one, or as a data frame."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from promptmill.client import frames
from promptmill.client.showing import AsyncShown
from promptmill.contract.results import Result, ResultPage


class AsyncResults(AsyncShown):
    """Finished results of a batch in prompt order; each use requests them again.

    A data frame has a row for each result: first the kept columns of the prompt's row, then the
    fields of the result, named `result_…` where a kept column has the same name. With `expand` the
    fields of answers that are JSON objects become columns too. pyarrow is needed: `pip install
    "promptmill[data]"`.
    """

    def __init__(
        self,
        page: Callable[[str | None], Awaitable[ResultPage]],
        download: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        """Store `page`, which gets the page of a cursor, and `download`, which gets NDJSON."""
        self._page = page
        self._download = download

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Yield the results, page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page = await self._page(cursor)
            for result in page.data:
                yield result
            if (cursor := page.next_cursor) is None:
                return

    async def to_arrow(self, *, expand: bool = False) -> Any:  # noqa: ANN401 - pyarrow.Table
        """Get the results as a `pyarrow.Table`.

        Raises:
            ValueError: pyarrow is not installed.
        """
        pieces = [piece async for piece in self._download()]
        return frames.arrow_of(pieces, expand=expand)

    async def to_pandas(self, *, expand: bool = False) -> Any:  # noqa: ANN401 - pandas.DataFrame
        """Get the results as a `pandas.DataFrame`, with the index of the submitted data frame.

        Whole numbers have the type `Int64`, which allows missing values.

        Raises:
            ValueError: pyarrow or pandas is not installed.
        """
        return frames.pandas_of(await self.to_arrow(expand=expand))

    async def to_polars(self, *, expand: bool = False) -> Any:  # noqa: ANN401 - polars.DataFrame
        """Get the results as a `polars.DataFrame`.

        Raises:
            ValueError: pyarrow or polars is not installed.
        """
        return frames.polars_of(await self.to_arrow(expand=expand))
