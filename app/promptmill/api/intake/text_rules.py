"""What every decoded JSON value must keep to, whatever field it is in.

A database refuses NUL characters, lone surrogates and infinite numbers only when it stores them,
when it is too late to name the field; so they are looked for here. The bounds on lengths also keep
what comes after (validation, storing) from running long on one value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import cast

from promptmill.api.intake.json_stream import MAX_DEPTH, MAX_ITEMS, MAX_MEMBERS, MalformedJson

Path = tuple[str | int, ...]
"""Where a value is inside the body, from the outside in."""

MAX_NAME_LENGTH = 256
"""Most characters of a member's name."""


def pointer_to(path: Path) -> str:
    """The RFC 6901 JSON pointer of a path; names are cut so that an answer stays short."""
    return "".join(
        "/" + str(part)[:MAX_NAME_LENGTH].replace("~", "~0").replace("/", "~1") for part in path
    )


def text_fault(text: str, max_bytes: int) -> str | None:
    """What is wrong with a text, as the sentence to tell; None for a good one."""
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
    """Every fault inside a decoded value, with its place.

    Images are exempt from the limit on text; what they may weigh is a matter of the whole body.

    Raises:
        MalformedJson: It is nested too deeply.
    """
    waiting: list[tuple[object, Path]] = [(value, path)]
    while waiting:
        one, place = waiting.pop()
        if len(place) > MAX_DEPTH:
            raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
        fault = _fault_of_its_own(one, place, max_text_bytes)
        if fault:
            yield place, fault
        elif isinstance(one, dict):
            members = cast("dict[str, object]", one)
            yield from _faults_in_names(members, place)
            waiting.extend((member, (*place, name)) for name, member in members.items())
        elif isinstance(one, list):
            items = cast("list[object]", one)
            waiting.extend((item, (*place, index)) for index, item in enumerate(items))


def _fault_of_its_own(value: object, place: Path, max_text_bytes: int) -> str | None:
    """What is wrong with the value as such, whatever it may hold."""
    if isinstance(value, str):
        return text_fault(value, max_text_bytes if "images" not in place else 4 * len(value))
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number; this one is too large for a float"
    if isinstance(value, dict):
        return _too_many(len(cast("dict[str, object]", value)), MAX_MEMBERS, "members")
    if isinstance(value, list):
        return _too_many(len(cast("list[object]", value)), MAX_ITEMS, "items")
    return None


def _faults_in_names(members: Iterable[str], place: Path) -> Iterator[tuple[Path, str]]:
    for name in members:
        if len(name) > MAX_NAME_LENGTH:
            yield (*place, name), f"has a name longer than {MAX_NAME_LENGTH} characters"
        elif text_fault(name, 4 * MAX_NAME_LENGTH):
            yield (*place, name), "has a NUL character or a lone surrogate in its name"


def _too_many(count: int, limit: int, what: str) -> str | None:
    return f"has {count} {what}; at most {limit} are accepted" if count > limit else None
