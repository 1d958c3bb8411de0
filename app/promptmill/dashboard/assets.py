"""Stylesheet, scripts and icon, at addresses that change with their contents."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@lru_cache(maxsize=1)
def contents() -> dict[str, bytes]:
    """All files by their names."""
    folder = resources.files("promptmill.dashboard") / "static"
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir(), key=lambda f: f.name)}


@lru_cache(maxsize=1)
def edition() -> str:
    """Hash in the address, which changes if any file changes."""
    whole = blake2b(digest_size=8)
    for name, content in contents().items():
        whole.update(name.encode() + content)
    return whole.hexdigest()


@router.get("/ui/assets/{wanted}/{name}")
async def asset(wanted: str, name: str) -> Response:
    """Send a file; browsers may keep it for ever, because a changed file has another address."""
    content = contents().get(name)
    if content is None or wanted != edition():
        return Response("There is no such file in this version.\n", 404, media_type="text/plain")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(content, media_type=media_type, headers=headers)
