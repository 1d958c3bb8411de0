"""Parsing of the setting of Ollama hosts: addresses, each with its options.

No message repeats what may be an API key: once the text contains a key, entries are named by number
and nothing of them is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from promptmill.domain.hosts.address import parse_ollama_host
from promptmill.domain.hosts.credentials import Credentials, basic, bearer

MOST_SLOTS = 4096
"""Most slots of a host."""

_MOST = str(MOST_SLOTS)
_OPTIONS = ("slots", "api_key", "basic_auth", "models")
_SECRETS = ("api_key", "basic_auth")
_JSON_LIST = re.compile(r"\[\s*([\"{\[\]]|$)")
"""Start of a JSON list; an IPv6 address in brackets does not match."""
_LONE_OPTION = re.compile(r"\s*(slots|api_key|basic_auth|models)\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """Ollama host as the settings describe it."""

    url: str
    """Base URL as `parse_ollama_host` writes it: the host's key everywhere."""
    slots: int | None = None
    """Most calls in flight at the host, over all batches and workers; None: no limit."""
    api_key: str | None = field(default=None, repr=False)
    """Sent to this host alone, as `Authorization: Bearer ...`; never shown."""
    basic_auth: str | None = field(default=None, repr=False)
    """`NAME:PASSWORD`, sent to this host alone, as `Authorization: Basic ...`; never shown."""
    models: tuple[str, ...] | None = None
    """Names of the only models to call at the host, as written; None: all models."""

    @property
    def credentials(self) -> Credentials | None:
        """Credentials sent with every request to the host."""
        if self.api_key is not None:
            return bearer(self.api_key)
        return None if self.basic_auth is None else basic(self.basic_auth)


def parse_hosts(text: str, *, default_slots: int | None = None) -> tuple[HostSpec, ...]:
    """Parse the hosts in a text, in its order; an empty tuple for a blank text.

    Two forms. Short: entries separated by commas, each an address and, after semicolons, its
    options: `gpu-1,gpu-2:11434;slots=4;models=qwen3:8b|gemma3:4b`. JSON: a list of addresses and
    objects, `["gpu-1", {"url": "https://ollama.example.com", "slots": 4, "api_key": "...",
    "models": []}]`, for values with commas or semicolons.

    Raises:
        ValueError: An entry is wrong; the message names it and says what to write instead.
    """
    if not text.strip():
        return ()
    written = _of_json(text) if _JSON_LIST.match(text.strip()) else _of_short_form(text)
    secret = any(name in text.lower() for name in _SECRETS)
    specs: list[HostSpec] = []
    for number, (address, options) in enumerate(written, start=1):
        where = f"entry {number}"
        spec = HostSpec(
            url=_url(address, where, secret=secret),
            slots=_slots(options.get("slots"), where) or default_slots,
            api_key=_secret(options.get("api_key"), f"api_key of {where}", bearer),
            basic_auth=_secret(options.get("basic_auth"), f"basic_auth of {where}", basic),
            models=_models(options.get("models"), where),
        )
        if spec.api_key is not None and spec.basic_auth is not None:
            raise ValueError(f"{where} has api_key and basic_auth; keep one")
        for earlier, other in enumerate(specs, start=1):
            if other.url == spec.url:
                raise ValueError(
                    f"entries {earlier} and {number} are the same host, {spec.url}; keep one"
                )
        specs.append(spec)
    if not specs:
        raise ValueError("the list is empty; name a host, or leave the variable unset")
    return tuple(specs)


_Written = Iterator[tuple[str, Mapping[str, Any]]]


def _of_short_form(text: str) -> _Written:
    for number, entry in enumerate(text.split(","), start=1):
        where = f"entry {number}"
        address, *options = entry.split(";")
        if _LONE_OPTION.match(address):
            raise ValueError(
                f"{where} is an option, not a host; options follow their host after ';':"
                " gpu-1;slots=4"
            )
        if not address.strip():
            raise ValueError(f"{where} names no host; {_FORMS}")
        yield address.strip(), _short_options(options, where)


def _short_options(written: Sequence[str], where: str) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    for place, option in enumerate(written, start=1):
        name, sign, value = (part.strip() for part in option.partition("="))
        # An unknown option is not repeated: it may be the rest of a key with ';' in it.
        if not sign or name not in _OPTIONS:
            raise ValueError(
                f"option {place} of {where} is none of slots=, api_key=, basic_auth= and models=;"
                " a key or password with ',' or ';' in it needs the JSON form"
            )
        if name in options:
            raise ValueError(f"{where} says {name} twice; keep one")
        if name == "slots":
            is_short_number = value.isascii() and value.isdigit() and len(value) <= len(_MOST)
            options[name] = int(value) if is_short_number else value
        else:
            options[name] = value.split("|") if name == "models" else value
    return options


def _of_json(text: str) -> _Written:
    try:
        entries = cast("list[object]", json.loads(text))
    except (ValueError, RecursionError) as error:
        told = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"begins like a JSON list but is not one{told}; {_FORMS}") from None
    for number, entry in enumerate(entries, start=1):
        where = f"entry {number}"
        if isinstance(entry, str):
            yield entry, {}
            continue
        if not isinstance(entry, dict):
            raise ValueError(f'{where} must be an address or an object with "url"')  # noqa: TRY004
        options = cast("dict[str, Any]", entry)
        unknown = sorted(options.keys() - {"url", *_OPTIONS})
        if unknown:
            raise ValueError(
                f"{where} has {unknown[0][:20]!r}, which is none of url, slots, api_key,"
                " basic_auth and models"
            )
        url = options.get("url")
        if not isinstance(url, str) or not url.strip():
            raise ValueError(f'{where} needs "url", the host\'s address as a text')
        yield url, options


_FORMS = 'write it like gpu-1,gpu-2:11434;slots=4 or ["gpu-1", {"url": "gpu-2", "slots": 4}]'


def _url(address: str, where: str, *, secret: bool) -> str:
    try:
        return parse_ollama_host(address)
    except ValueError as error:
        if secret:
            # The rest of a key with a comma in it would be taken for an address.
            raise ValueError(
                f"{where} is not the address of a host; write it like gpu-1:11434 or"
                " https://ollama.example.com, and a key or password with ',' or ';' in it in the"
                " JSON form (the text is not shown, because the setting holds a secret)"
            ) from None
        raise ValueError(f"{where}: {error}") from None


def _slots(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SLOTS:
        raise ValueError(f"slots of {where} must be a whole number from 1 to {MOST_SLOTS}")
    return value


def _secret(value: object, what: str, read: Callable[[str], Credentials]) -> str | None:
    if value is None:
        return None
    try:
        read(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None
    return cast("str", value)


def _models(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = cast("list[object]", value) if isinstance(value, list) else []
    stripped = tuple(name.strip() for name in names if isinstance(name, str))
    if not stripped or len(stripped) != len(names) or not all(stripped):
        raise ValueError(
            f"models of {where} must name at least one model, none of them empty (models=a|b,"
            ' or "models": ["a", "b"]); left out, all its models are used'
        )
    return stripped
