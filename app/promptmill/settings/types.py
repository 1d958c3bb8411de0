"""Types of settings: each says what its text must look like, and how to write it instead."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr

from promptmill.domain.access.authority import parse_authority
from promptmill.domain.access.keys import parse_environment_keys
from promptmill.domain.hosts.address import parse_ollama_host
from promptmill.domain.hosts.credentials import bearer
from promptmill.domain.hosts.spec import parse_hosts
from promptmill.machine import LONGEST_MACHINE
from promptmill.settings.values import entries, with_home

_MACHINE: Final = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_MACHINE}}}")


def _machine_name(value: str) -> str:
    if not _MACHINE.fullmatch(value):
        bound = f"1 to {LONGEST_MACHINE} visible ASCII characters without spaces"
        raise ValueError(f"must be {bound}, such as gpu-box-1")
    return value


def _fit_for_a_header(value: SecretStr) -> SecretStr:
    bearer(value.get_secret_value())
    return value


def _hosts_if_any(value: SecretStr | None) -> SecretStr | None:
    return value if value is not None and parse_hosts(value.get_secret_value()) else None


def _keys_if_any(value: SecretStr | None) -> SecretStr | None:
    text = "" if value is None else value.get_secret_value()
    return value if text and parse_environment_keys(text) else None


def _database_url(value: str) -> str:
    if value.startswith("postgres://"):
        value = "postgresql://" + value.removeprefix("postgres://")
    if not value.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("must start with sqlite:/// or postgresql://")
    if value in {"sqlite:///", "sqlite:///:memory:"} or "mode=memory" in value:
        raise ValueError("an in-memory database loses accepted work; name a file")
    return with_home(value)


def _host_names(value: str) -> str:
    for entry in entries(value):
        if parse_authority(entry) is None:
            raise ValueError(f"{entry!r} is not a host's name: write mill.example.com")
    return value


def _origins(value: str) -> str:
    for entry in entries(value):
        scheme, _, rest = entry.partition("://")
        if entry != "*" and (scheme not in {"http", "https"} or not parse_authority(rest)):
            raise ValueError(f"{entry!r} is not an origin: write https://app.example.com")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


OllamaAddress = Annotated[str, AfterValidator(parse_ollama_host)]
"""A server in any form that Ollama's own client takes, as one canonical URL."""
OllamaKey = Annotated[SecretStr, AfterValidator(_fit_for_a_header)]
OllamaHosts = Annotated[SecretStr | None, AfterValidator(_hosts_if_any)]
"""Several servers in the short form or as JSON."""
MachineName = Annotated[str, AfterValidator(_machine_name)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
ApiKeys = Annotated[SecretStr | None, AfterValidator(_keys_if_any)]
"""Names with keys, and their scopes."""
HostNames = Annotated[str, AfterValidator(_host_names)]
"""Names apart by commas, each with a port or without."""
Origins = Annotated[str, AfterValidator(_origins)]
"""Origins of web pages apart by commas, or `*`."""
LogLevel = Annotated[str, BeforeValidator(_lower)]
