"""What a host, or a proxy before it, is told with every request so that it lets the request in."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

_KEY = re.compile(r"[\x21-\x7e]+")
"""What an HTTP header can carry as one word."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An `Authorization` header, and what of it must never be shown."""

    authorization: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def strike_out(self, text: str) -> str:
        """The text without the secrets: a proxy that refuses them may repeat them."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def bearer(api_key: str) -> Credentials:
    """An API key, as `Authorization: Bearer ...`.

    Raises:
        ValueError: It is none; the message does not repeat it.
    """
    if not _KEY.fullmatch(api_key):
        raise ValueError(
            "must be a text of visible ASCII characters without spaces, the key alone, without"
            " 'Bearer'"
        )
    return Credentials(f"Bearer {api_key}", (api_key,))


def basic(name_and_password: str) -> Credentials:
    """A name and a password, `NAME:PASSWORD`, as `Authorization: Basic ...`.

    Raises:
        ValueError: They are none; the message does not repeat them.
    """
    name, colon, password = name_and_password.partition(":")
    if not (name and colon and password and name_and_password.isprintable()):
        raise ValueError("must be NAME:PASSWORD, both of them given, without line ends")
    encoded = base64.b64encode(name_and_password.encode()).decode()
    return Credentials(f"Basic {encoded}", (encoded, password))
