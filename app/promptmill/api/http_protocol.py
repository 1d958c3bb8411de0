"""HTTP parsing of uvicorn, with a bound on a request's head and without trailers."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES: Final = 256 * 1024
"""Most bytes of the request line and headers together; uvicorn would keep any number in memory."""


class BoundedProtocol(HttpToolsProtocol):
    """Connection whose client can neither fill the memory with headers nor append any at the end.

    Trailers of a chunked body would count as headers of the request, although a proxy that checks
    or replaces headers has not seen them.
    """

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and refuse a request whose head is too large."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The headers of the request are too large.")

    def on_message_begin(self) -> None:
        """Note the beginning of a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header, but drop a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._in_head = False
        super().on_headers_complete()
