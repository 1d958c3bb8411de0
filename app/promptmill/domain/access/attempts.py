"""Bound on wrong keys: an address that has sent too many has its further keys refused unread.

Each address has five attempts and regains one every twelve seconds. A good key that the address has
sent before is still accepted: a program with an old key, or an attacker behind the same proxy, must
not lock out its neighbours.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST_FAILURES: Final = 5
"""Wrong keys in a row that are still checked."""
REGAIN_S: Final = 12.0
"""Seconds until an address regains one attempt; that makes five a minute."""
_MOST_REMEMBERED: Final = 10_000
"""Most addresses, and most keys with addresses, that are kept; the oldest are dropped first."""
_IPV6_SITE_BITS: Final = 64
"""Bits of an IPv6 address that identify a customer's network."""


@dataclass(slots=True)
class Attempts:
    """Wrong keys that reached this process recently."""

    _spent: OrderedDict[str, tuple[float, float]] = field(
        default_factory=OrderedDict[str, tuple[float, float]]
    )
    """Spent attempts of each site, with the monotonic seconds of that number."""
    _good: OrderedDict[tuple[str, str], None] = field(
        default_factory=OrderedDict[tuple[str, str], None]
    )
    """Sites with the digests of good keys that were sent from there."""

    def may_try(self, address: str | None, digest: str, now_s: float) -> bool:
        """Whether the key with this digest may be checked."""
        site = _site(address)
        return (site, digest) in self._good or self._spent_now(site, now_s) <= MOST_FAILURES - 1

    def note_failure(self, address: str | None, now_s: float) -> None:
        """Count a wrong key."""
        site = _site(address)
        self._spent[site] = self._spent_now(site, now_s) + 1, now_s
        _keep_newest(self._spent, site)

    def note_success(self, address: str | None, digest: str) -> None:
        """Remember a good key, so that it is accepted despite failures at its address."""
        place = _site(address), digest
        self._good[place] = None
        _keep_newest(self._good, place)

    def _spent_now(self, site: str, now_s: float) -> float:
        spent, at_s = self._spent.get(site, (0.0, now_s))
        return max(spent - (now_s - at_s) / REGAIN_S, 0.0)


def _site(address: str | None) -> str:
    """Unit of counting: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_SITE_BITS), strict=False))


def _keep_newest(remembered: OrderedDict[K, V], place: K) -> None:
    remembered.move_to_end(place)
    if len(remembered) > _MOST_REMEMBERED:
        remembered.popitem(last=False)
