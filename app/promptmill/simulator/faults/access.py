"""Access checks of the Host and Origin headers, which respond with 403 without a body.

Also gateways and other programs that answer in Ollama's place.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import StrEnum
from functools import lru_cache

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
_LOCAL_ORIGINS = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "[::1]"})  # noqa: S104  # a name, not a binding
_APP_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})


class Refusing(StrEnum):
    """Program that answers every request except those under /simulator, in Ollama's place."""

    UNAUTHORIZED = "401"  #: a gateway that wants a key
    FORBIDDEN = "403"  #: a gateway that denies access
    REDIRECT = "302"  #: a gateway that sends everybody to its sign-in
    FOREIGN = "404"  #: another program, which has no such path
    PAGE = "page"  #: another program, which shows a page of HTML whatever the path


@lru_cache(maxsize=1024)
def host_is_welcome(header: bytes) -> bool:
    """Whether a server on a loopback address answers requests to this Host."""
    host = header.decode("latin-1").strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host in {"", "localhost", socket.gethostname().lower()} or host.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


@lru_cache(maxsize=1024)
def allow_origin(header: bytes) -> bool:
    """Whether a web page of this Origin may ask."""
    scheme, _, rest = header.decode("latin-1").partition("://")
    if scheme in _APP_SCHEMES:
        return True
    host = rest.rpartition(":")[0] if rest.rpartition(":")[2].isdigit() else rest
    return scheme in {"http", "https"} and host in _LOCAL_ORIGINS
