"""Hosts with their ports as browsers name them, in the headers `Host` and `Origin`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_HOST: Final = re.compile(
    r"(?P<name>\[[0-9a-f:.]+(?:%[\w.~-]+)?\]|[\w.~-]+)(?::(?P<port>\d{1,5})?)?", re.ASCII
)
_HIGHEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A host with the port that was named, as in `Host: name:port`."""

    name: str
    """Small letters, without brackets and without a dot at the end."""
    port: int | None = None

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and not a name."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return False
        return True

    @property
    def is_localhost(self) -> bool:
        """Whether browsers take the name for this machine without asking anybody."""
        return self.name == "localhost" or self.name.endswith(".localhost")

    def fits(self, other: Authority) -> bool:
        """Whether `other` is this host; a port that this one does not name may be any."""
        return self.name == other.name and self.port in {None, other.port}


def parse_authority(text: str) -> Authority | None:
    """The host and port of `name`, `name:port`, `[v6]` or `[v6]:port`; None if it is none."""
    found = _HOST.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > _HIGHEST_PORT:
        return None
    name = found["name"].strip("[]").removesuffix(".")
    return Authority(name=name, port=port) if name.strip(".") else None
