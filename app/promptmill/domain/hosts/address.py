"""Parsing of Ollama addresses: every form in which people write them, as one canonical base URL.

Two texts for the same server give the same URL, which serves as the host's key. A text that cannot
be an address is refused, never replaced by a guess.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

DEFAULT_PORT = 11434
"""Port of an Ollama server when no scheme and no port is given."""

_SCHEME_PORTS = {"http": 80, "https": 443}
_LOOPBACK_V4 = "127.0.0.1"
_MACHINE_NAMES = frozenset({"localhost", "host.docker.internal", "host.containers.internal"})
"""Names of the machine itself; the last two stand for a container's machine."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_LABELS = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_PATH = re.compile(r"[A-Za-z0-9/._~%!$&'()*+,;=:@-]*")
_OF_THE_API = re.compile(r"(/v1|/api/(generate|chat|tags|embed|embeddings|version))(/.*)?")
_MISSPELT_SCHEME = re.compile(r"h?t{1,3}ps?:?", re.IGNORECASE)
_NAME_BOUND = 253
_EXAMPLES = "write it like 'localhost', '192.168.1.20:11434' or 'https://ollama.example.com'"


def parse_ollama_host(text: str | None) -> str:
    """The base URL that `text` means, without a trailing slash: `http://127.0.0.1:11434`.

    Accepts what Ollama's own clients accept in `OLLAMA_HOST`: nothing at all, `host`, `host:port`,
    `:port`, an address of either IP version with or without brackets, `http://` or `https://`
    before any of these, and a path after them, which is kept. The port is always spelled out:
    without one it is 11434, after `http://` 80, after `https://` 443. Names become lower case and
    international ones ASCII.

    Where Ollama's Go program and its Python library differ:

    - spaces and quotes around the text are stripped, and an IPv6 address needs no brackets (Go;
      Python refuses both);
    - `ollama.com` alone is `https://ollama.com:443` (Go; Python's port 11434 never answered);
    - a port that is none, or is not 1 to 65535, is refused (Python; Go silently takes the default
      port, and so talks to another server than the one that was asked for).

    And where this differs from both, since it is for a client and the result is logged and stored:

    - `0.0.0.0` and `::`, which only a server can listen on, become `127.0.0.1` and `[::1]`;
    - a user name or password is refused, because addresses are shown in results; so are a query and
    a fragment, which both drop, and other schemes.

    Raises:
        ValueError: The text is not an address; the message says what to write instead.
    """
    trimmed = (text or "").strip().strip("\"'").strip()
    scheme, host_and_port, path = _split(trimmed)
    if scheme is None and trimmed.lower() == "ollama.com":
        scheme = "https"
    default_port = DEFAULT_PORT if scheme is None else _SCHEME_PORTS[scheme]
    host, port = _host_and_port(host_and_port, trimmed, default_port)
    if not _PATH.fullmatch(path):
        raise ValueError(f"{trimmed!r} has a path with characters that do not belong in a URL")
    if _OF_THE_API.fullmatch(path):
        raise ValueError(
            f"{trimmed!r} has a part of Ollama's API in it; leave {path!r} out, for every request"
            " adds its own path"
        )
    return f"{scheme or 'http'}://{host}:{port}{path.rstrip('/')}"


def is_of_the_machine(url: str) -> bool:
    """Whether a URL of `parse_ollama_host` stands for another server on each machine."""
    name = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in _MACHINE_NAMES or name.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _split(text: str) -> tuple[str | None, str, str]:
    """Scheme (None if not written), host with port, and path of the text."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    host_and_port, slash, path = rest.partition("/")
    is_misspelt = bool(not separator and slash and _MISSPELT_SCHEME.fullmatch(host_and_port))
    is_strange = bool(separator) and scheme.lower() not in _SCHEME_PORTS
    if "@" in (text if is_misspelt or is_strange else host_and_port):
        # The text is not repeated, because it holds the secret.
        raise ValueError(
            "an Ollama address must not hold a user name or password, because it is shown"
            " in results; PROMPTMILL_OLLAMA_HOSTS takes them beside it"
            " (ADDRESS;basic_auth=NAME:PASSWORD), and OllamaManager as basic_auth"
        )
    if is_misspelt:
        raise ValueError(f"{text!r} is misspelt: http:// has a colon and two slashes; {_EXAMPLES}")
    if is_strange:
        raise ValueError(f"{text!r} must start with http:// or https://, or with no scheme at all")
    if "?" in rest or "#" in rest:
        raise ValueError(f"{text!r} has a query or a fragment; give the address alone")
    if slash and not host_and_port and path.strip("/"):
        raise ValueError(f"{text!r} names no host; {_EXAMPLES}")
    return scheme.lower() or None, host_and_port, slash + path


def _host_and_port(text: str, whole: str, default_port: int) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError(f"{whole!r} has a bracket that does not close; write '[::1]:11434'")
        if ":" not in host:
            raise ValueError(f"{whole!r} has brackets around what is not an IPv6 address")
        port = after[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return _canonical_host(host, whole), _canonical_port(port, whole, default_port)


def _canonical_port(text: str, whole: str, default: int) -> int:
    if not text:
        return default
    # str.isdigit alone would accept digits of other scripts.
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535:  # noqa: PLR2004
        return int(text)
    raise ValueError(f"{whole!r} has the port {text!r}; a port is a number from 1 to 65535")


def _canonical_host(text: str, whole: str) -> str:
    if not text:
        return _LOOPBACK_V4
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _canonical_name(text, whole)
    if "%" in text:
        raise ValueError(f"{whole!r} names a network interface; give an address without '%'")
    if isinstance(address, ipaddress.IPv6Address):
        return "[::1]" if address.is_unspecified else f"[{address.compressed}]"
    return _LOOPBACK_V4 if address.is_unspecified else address.compressed


def _canonical_name(text: str, whole: str) -> str:
    if text.isdigit():
        raise ValueError(f"{whole!r} is a number, not a host; for a port write ':{text}'")
    try:
        name = text.lower() if text.isascii() else text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    if len(name) > _NAME_BOUND or not _LABELS.fullmatch(name):
        raise ValueError(f"{whole!r} is not the address of a host; {_EXAMPLES}")
    return name
