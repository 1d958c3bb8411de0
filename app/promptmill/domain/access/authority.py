"""Hosts with ports, as browsers write them in the headers `Host` and `Origin`."""

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
    """Host name in lower case, without brackets and final dot."""
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
        """Whether browsers resolve the name to this machine without asking a name server."""
        return self.name == "localhost" or self.name.endswith(".localhost")

    def fits(self, other: Authority) -> bool:
        """Whether `other` is this host; without a port of its own, any port fits."""
        return self.name == other.name and self.port in {None, other.port}


def parse_authority(text: str) -> Authority | None:
    """Parse `name`, `name:port`, `[v6]` or `[v6]:port`; None for other texts."""
    found = _HOST.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > _HIGHEST_PORT:
        return None
    name = found["name"].strip("[]").removesuffix(".")
    return Authority(name=name, port=port) if name.strip(".") else None
