"""Parsing of a server's error message from the body of its response."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any, cast

from promptmill.ollama.text import one_line

WORDS_BOUND = 500
"""Most characters of a server's own words in a message."""


class Speaker(Enum):
    """Sender of an error response, recognised by its body."""

    OLLAMA = "Ollama"
    """Ollama: the body is JSON with `error`."""
    CLOUD = "Ollama's cloud"
    """Ollama's cloud: the body is JSON with `error` and `signin_url`."""
    OTHER = "a proxy or another program"
    """Another program: the body is empty, text, HTML or other JSON."""

    @property
    def hands_on(self) -> Speaker:
        """Sender as the client sees it: messages of the cloud are sent by Ollama."""
        return Speaker.OLLAMA if self is Speaker.CLOUD else self


_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def server_words(body: bytes) -> tuple[Speaker, str]:
    """Sender and message of an error's body, on one line of bounded length."""
    text = body.decode("utf-8", "replace")
    error = error_in_json(text)
    if error is not None:
        speaker = Speaker.CLOUD if '"signin_url"' in text else Speaker.OLLAMA
        return speaker, one_line(error, WORDS_BOUND)
    title = _TITLE.search(text)
    if title is not None:
        text = title.group(1)
    elif text.lstrip().startswith("<"):
        text = _TAG.sub(" ", text)
    return Speaker.OTHER, one_line(text, WORDS_BOUND)


def error_in_json(text: str) -> str | None:
    """Text of `{"error": …}`; None for any other text.

    Ollama passes on the message of the model's process as a string that is JSON again, and its
    OpenAI routes wrap the text in an object; both are unwrapped.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or "error" not in parsed:
        return None
    return spoken(cast("dict[str, Any]", parsed)["error"])


def spoken(error: object) -> str:
    """Message in the value of an `error` field, whatever its form."""
    if isinstance(error, str):
        return error_in_json(error) or error
    if isinstance(error, dict):
        message = cast("dict[str, object]", error).get("message")
        if isinstance(message, str):
            return message
    return json.dumps(error)
