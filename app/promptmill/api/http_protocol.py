"""uvicorn's reading of HTTP, with a bound for the head of a request and without trailers."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES: Final = 256 * 1024
"""Of the request line and all headers. uvicorn has no bound, and would keep them all in memory."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose client can neither fill the memory with headers nor add any at the end.

    Trailers of a chunked body would else count as headers of the request, though a proxy that
    checks or replaces headers has never seen them.
    """

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read on, and refuse a request whose head has no end."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The headers of the request are too large.")

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and leave a trailer out."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._in_head = False
        super().on_headers_complete()
