"""The recorded exchanges with a real Ollama, as bytes that a raw host can send again."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptmill.domain.calls import Call
from tests.ollama.raw_host import Exchange, chunk

FOLDER = Path(__file__).parent.parent / "data" / "recordings"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Recorded:
    name: str
    path: str
    request: Any
    status: int | None
    headers: dict[str, str]
    pieces: tuple[str, ...]
    ended: str

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def call(self) -> Call:
        parameters = dict(self.request)
        model = parameters.pop("model", "")
        messages = parameters.pop("messages", None)
        prompt = parameters.pop("prompt", "")
        if self.path == "/api/chat":
            # Some recorded chats have no messages or none that are any; the replay does not care.
            usable = messages if isinstance(messages, list) else []
            return Call(model=model, messages=tuple(usable), parameters=parameters, timeout_s=20)
        return Call(model=model, prompt=str(prompt), parameters=parameters, timeout_s=20)

    async def replay(self, exchange: Exchange) -> None:
        """Send what the server sent, and end as it ended."""
        if self.status is None:
            exchange.writer.close()
            return
        head = f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Other')}\r\n"
        # The length is counted again: one recorded body is abridged.
        headers = dict(self.headers)
        if "content-length" in headers:
            headers["content-length"] = str(len(self.text.encode()))
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        chunked = self.headers.get("transfer-encoding") == "chunked"
        await exchange.send(head.encode() + b"\r\n")
        for piece in self.pieces:
            await exchange.send(chunk(piece.encode()) if chunked else piece.encode())
        if self.ended == "complete":
            await exchange.send(b"0\r\n\r\n" if chunked else b"")
        else:
            exchange.writer.close()


@functools.cache
def exchanges(*paths: str) -> tuple[Recorded, ...]:
    """All exchanges of these routes with a JSON object as their body, in order."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        for number, entry in enumerate(json.loads(file.read_text())["exchanges"]):
            request, response = entry["request"], entry["response"]
            if request["path"] not in paths or not isinstance(request.get("body", {}), dict):
                continue
            recorded = Recorded(
                name=f"{file.stem}-{number}",
                path=request["path"],
                request=request.get("body", {}),
                status=response.get("status"),
                headers=response.get("headers", {}),
                pieces=tuple(text for _, text in response.get("chunks", ())),
                ended=response["ended"],
            )
            found.append(recorded)
    return tuple(found)


def recorded(name: str) -> Recorded:
    every = ("/api/tags", "/api/ps", "/api/show", "/api/version", "/api/generate", "/api/chat")
    return next(entry for entry in exchanges(*every) if entry.name == name)
