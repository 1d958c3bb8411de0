"""Limits on every decoded JSON value, in whatever field, so that it can be stored.

A database refuses NUL characters, lone surrogates and infinite numbers only when it stores them,
too late to name the field. Bounds on lengths keep validation and storing of one value short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, cast

from promptmill.api.schemas.strict import Path

MAX_DEPTH: Final = 100
"""Deepest nesting of arrays and objects, so that stored values can be written as JSON again."""
MAX_MEMBERS: Final = 1000
"""Most members of one object."""
MAX_ITEMS: Final = 10_000
"""Most items of one array, except arrays that are read item by item."""
_LONGEST_NAME: Final = 256


class MalformedJson(Exception):  # noqa: N818 - named for what it is
    """A text is not JSON; the message names the reason and the place."""

    def __init__(self, message: str, of_line: str) -> None:
        """Store the message; `of_line` is the form for a line, as the end of a sentence."""
        super().__init__(message)
        self.of_line = of_line


def too_deep() -> MalformedJson:
    """Error for a text that is nested too deeply to be stored."""
    fault = f"is nested deeper than {MAX_DEPTH} levels"
    return MalformedJson(f"The body {fault}.", fault)


def text_fault(text: str, max_bytes: int) -> str | None:
    """Sentence for the fault of a text; None without a fault."""
    if "\x00" in text:
        return "must not contain NUL characters (\\u0000); remove them"
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return (
                "must not contain lone surrogates (half of a \\ud83d\\ude00 pair); send valid text"
            )
    if size > max_bytes:
        return f"is {size} bytes long; at most {max_bytes} are accepted"
    return None


def faults_in(value: object, path: Path, *, max_text_bytes: int) -> Iterator[tuple[Path, str]]:
    """Yield every fault inside a decoded value that a database would refuse, with its place.

    Images are exempt from the limit on text.

    Raises:
        MalformedJson: The value is nested too deeply.
    """
    waiting: list[tuple[object, Path]] = [(value, path)]
    while waiting:
        one, place = waiting.pop()
        if len(place) > MAX_DEPTH:
            raise too_deep()
        inside: Iterable[tuple[str | int, object]] = ()
        if isinstance(one, dict):
            members = cast("dict[str, object]", one)
            fault = _too_many(len(members), MAX_MEMBERS, "members")
            if not fault:
                yield from _faults_in_names(members, place)
                inside = members.items()
        elif isinstance(one, list):
            items = cast("list[object]", one)
            fault = _too_many(len(items), MAX_ITEMS, "items")
            inside = () if fault else enumerate(items)
        else:
            fault = _fault_of_its_own(one, place, max_text_bytes)
        if fault:
            yield place, fault
        for name, member in inside:
            # Most values are short texts, of which there may be a million.
            if not (type(member) is str and _is_plain(member, max_text_bytes)):
                waiting.append((member, (*place, name)))


def _is_plain(text: str, most: int) -> bool:
    return len(text) <= most and text.isascii() and "\x00" not in text


def _fault_of_its_own(value: object, place: Path, max_text_bytes: int) -> str | None:
    """Sentence for the fault of a value without parts."""
    if isinstance(value, str):
        is_image = "images" in place or "image_url" in place
        return text_fault(value, 4 * len(value) if is_image else max_text_bytes)
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number; this one is too large for a float"
    return None


def _faults_in_names(members: Iterable[str], place: Path) -> Iterator[tuple[Path, str]]:
    for name in members:
        if _is_plain(name, _LONGEST_NAME):
            continue
        if len(name) > _LONGEST_NAME:
            yield (*place, name), f"has a name longer than {_LONGEST_NAME} characters"
        elif text_fault(name, 4 * _LONGEST_NAME):
            yield (*place, name), "has a NUL character or a lone surrogate in its name"


def _too_many(count: int, limit: int, what: str) -> str | None:
    return f"has {count} {what}; at most {limit} are accepted" if count > limit else None
