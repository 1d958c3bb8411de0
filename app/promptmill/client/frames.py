"""Results as data frames, with the columns of files: the kept ones first."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any, Final

from promptmill.prompts.results import write_results
from promptmill.rows import TableFormat, UnreadableInput
from promptmill.rows.columnar import library

_INDEX: Final = re.compile(r"__index_level_\d+__")
"""Arrow's name for a pandas index without a name."""


def arrow_of(pieces: Iterable[bytes], *, expand: bool) -> Any:  # noqa: ANN401 - pyarrow.Table
    """Read NDJSON results into an Arrow table.

    Raises:
        ValueError: pyarrow is not installed.
    """
    target = io.BytesIO()
    try:
        parquet = library("pyarrow.parquet", "a data frame of results")
        write_results(pieces, target, TableFormat.PARQUET, expand=expand)
    except UnreadableInput as error:
        raise ValueError(str(error)) from None
    target.seek(0)
    return parquet.read_table(target)


def pandas_of(table: Any) -> Any:  # noqa: ANN401 - both are of libraries
    """Convert an Arrow table to a pandas data frame.

    Raises:
        ValueError: pandas is not installed.
    """
    pandas = _sure("pandas")
    arrow = library("pyarrow", "a data frame")
    # Integers stay integers in columns with missing values.
    types = {arrow.int64(): pandas.Int64Dtype()}
    frame = table.to_pandas(types_mapper=types.get)
    levels = [name for name in frame.columns if _INDEX.fullmatch(name)]
    if levels:
        values = [frame.pop(name).tolist() for name in levels]
        frame.index = values[0] if len(values) == 1 else pandas.MultiIndex.from_arrays(values)
    return frame


def polars_of(table: Any) -> Any:  # noqa: ANN401 - both are of libraries
    """Convert an Arrow table to a polars data frame.

    Raises:
        ValueError: polars is not installed.
    """
    return _sure("polars").from_arrow(table)


def _sure(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return library(name, f"to_{name}()", name)
    except UnreadableInput as error:
        raise ValueError(str(error)) from None
