"""Credentials for a host, or for a proxy before it, sent with every request."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

_KEY = re.compile(r"[\x21-\x7e]+")
"""Pattern of a word in an HTTP header."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An `Authorization` header, and the secrets in it that must never be shown."""

    authorization: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def strike_out(self, text: str) -> str:
        """Remove the secrets from a text: a proxy that refuses them may repeat them."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def bearer(api_key: str) -> Credentials:
    """Build credentials from an API key: `Authorization: Bearer ...`.

    Raises:
        ValueError: The key is malformed; the message does not repeat it.
    """
    if not _KEY.fullmatch(api_key):
        raise ValueError(
            "must be a text of visible ASCII characters without spaces, the key alone, without"
            " 'Bearer'"
        )
    return Credentials(f"Bearer {api_key}", (api_key,))


def basic(name_and_password: str) -> Credentials:
    """Build credentials from a name and a password, `NAME:PASSWORD`: `Authorization: Basic ...`.

    Raises:
        ValueError: The text is malformed; the message does not repeat it.
    """
    name, colon, password = name_and_password.partition(":")
    if not (name and colon and password and name_and_password.isprintable()):
        raise ValueError("must be NAME:PASSWORD, both of them given, without line ends")
    encoded = base64.b64encode(name_and_password.encode()).decode()
    return Credentials(f"Basic {encoded}", (encoded, password))


def credentials_of(api_key: str | None, basic_auth: str | None) -> Credentials | None:
    """Build credentials from whichever argument is given; None without any.

    Raises:
        ValueError: Both are given, or one is malformed; the message does not repeat it.
    """
    if api_key is not None and basic_auth is not None:
        raise ValueError("api_key and basic_auth cannot both be sent; give one")
    for name, value, read in (("api_key", api_key, bearer), ("basic_auth", basic_auth, basic)):
        if value is not None:
            try:
                return read(value)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
    return None
