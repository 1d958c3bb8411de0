"""What the headers of a request say about its body: a media type, UTF-8, not compressed."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request

from promptmill.api.errors.problems import UNSUPPORTED_MEDIA_TYPE, Refused


def require_media_type(request: Request, known: Collection[str], wanted: str) -> str:
    """The media type of the body, in lower case; `wanted` names the known ones in words.

    Raises:
        Refused: It is none of the known ones, or the body is not in UTF-8, or compressed.
    """
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = given.strip().lower()
    if media_type not in known:
        said = f"it is {given.strip()[:64]!a}" if given else "it is missing"
        raise Refused(UNSUPPORTED_MEDIA_TYPE, f"The header Content-Type must be {wanted}; {said}.")
    for parameter in filter(None, parameters.split(";")):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in {"utf-8", "utf8"}:
            raise Refused(UNSUPPORTED_MEDIA_TYPE, "The body must be in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(
            UNSUPPORTED_MEDIA_TYPE, "The body must be sent uncompressed, without Content-Encoding."
        )
    return media_type
