"""Encoding of Python values as JSON, with errors that name the part that JSON cannot represent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

_DEEPEST: Final = 200
"""Levels of nesting that are checked; `json` itself fails beyond some hundreds."""


def encoded(value: object, *, name: str = "") -> bytes:
    """A value as compact JSON in UTF-8. `name` is what the value is called in an error.

    Raises:
        TypeError: Something in it is of a type that JSON does not know.
        ValueError: A number is not finite, a text is not Unicode, or it is nested too deeply.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_scalar
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError):
        check(value, name=name)
        raise


def plain(value: object, *, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Convert a value to what decoding its JSON gives: NumPy numbers to Python's, tuples to lists.

    Raises:
        TypeError, ValueError: As `encoded`.
    """
    return json.loads(encoded(value, name=name))


def _is_scalar(value: object) -> bool:
    """Whether a value is a scalar of NumPy or of a library that follows NumPy's protocol."""
    return hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0


def _scalar(value: Any) -> object:  # noqa: ANN401 - any type that `json` does not know
    """Convert a NumPy scalar to Python's number."""
    if _is_scalar(value) and isinstance(item := value.item(), bool | int | float | str):
        return item
    raise TypeError


def check(value: object, *, name: str = "") -> None:
    """Raise an error that names the part of a value that JSON cannot represent, as `options.seed`.

    Raises:
        TypeError: Something in it is of a type that JSON does not know.
        ValueError: A number is not finite, a text is not Unicode, or it is nested too deeply.
    """
    for place, found in _parts(value, name, depth=0):
        what = place or "the value"
        part = cast("Any", found).item() if _is_scalar(found) else found
        if isinstance(part, float) and not math.isfinite(part):
            shown = "NaN" if math.isnan(part) else "infinite"
            raise ValueError(f"{what} is {shown}, which is not JSON compliant")
        if isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError:
                raise ValueError(
                    f"{what} has half of a pair in it: surrogates not allowed"
                ) from None
        elif part is not None and not isinstance(part, bool | int | float):
            raise TypeError(f"{what} is of the type {type(found).__name__}, which JSON cannot hold")


def _parts(value: object, place: str, *, depth: int) -> Iterator[tuple[str, object]]:
    """Yield the leaves of a value, each with its place in the value."""
    if depth > _DEEPEST:
        raise ValueError(f"{place or 'the value'} is nested too deeply")
    # Only what `json` takes for an object or a list: a mapping of another class is neither.
    if isinstance(value, dict):
        for key, part in cast("Mapping[Any, object]", value).items():
            inside = f"{place}.{key}" if place else str(key)
            if not isinstance(key, str | int | float | bool | None):
                raise TypeError(f"{inside} has a name of the type {type(key).__name__}")
            yield from _parts(part, inside, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(cast("list[object]", value)):
            yield from _parts(part, f"{place}[{index}]", depth=depth + 1)
    else:
        yield place, value
