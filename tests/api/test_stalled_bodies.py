"""A body that stops coming is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import Request

from promptmill.api.errors.problems import BODY_STALLED, Refused
from promptmill.api.intake.body import receive_whole


def request_of(*parts: bytes) -> Request:
    """A request whose body has these parts, and one more that never comes."""
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive() -> Mapping[str, Any]:
        if coming:
            return coming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def test_a_body_that_stops_coming_is_refused_as_stalled() -> None:
    with pytest.raises(Refused) as refused:
        await receive_whole(request_of(b"{", b'"a"'), 100, "too large", silence_s=0.01)

    assert refused.value.kind is BODY_STALLED
