"""Embeddings: unit vectors determined by the model and the text."""

from __future__ import annotations

import math
from hashlib import shake_128

from promptmill.simulator.protocol.names import name_key

_HALF = 32768


def embedding(model: str, text: str, length: int, dimensions: int = 0) -> list[float]:
    """A vector of `length` numbers with norm 1; cut to `dimensions` (if fewer) and normed again."""
    count = dimensions if 0 < dimensions < length else length
    key = f"{name_key(model)}\0{text}".encode("utf-8", "surrogatepass")
    source = shake_128(key).digest(2 * count)
    numbers = [
        int.from_bytes(source[place : place + 2], "big") - _HALF + 0.5
        for place in range(0, 2 * count, 2)
    ]
    norm = math.sqrt(sum(number * number for number in numbers))
    return [round(number / norm, 8) for number in numbers]
