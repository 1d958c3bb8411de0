"""Checks of who can reach the service, and who may use it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from promptmill.diagnosis.database import read
from promptmill.diagnosis.findings import Finding, Level
from promptmill.domain.access.keys import ApiKey
from promptmill.domain.errors import PromptmillError
from promptmill.services.access import keys
from promptmill.settings import Settings, is_loopback, readable_key_file
from promptmill.store.db import schema


def check_access(settings: Settings) -> Sequence[Finding]:
    """Check the address of the service, and the access to it."""
    stored = _stored_keys(settings)
    number = len(stored) + len(settings.environment_keys)
    found = [_check_address(settings, number), *_check_keys(stored)]
    if settings.cors_origins:
        told = f"Web pages of {settings.cors_origins} may use the API."
        found.append(Finding("access", Level.NOTE, told))
    if not (is_loopback(settings.host) or settings.allowed_hosts or number):
        told = "Browsers reach the service by its IP address only."
        advice = "PROMPTMILL_ALLOWED_HOSTS adds the names that it has in the network."
        found.append(Finding("access", Level.NOTE, told, advice))
    return found


def _stored_keys(settings: Settings) -> Sequence[ApiKey]:
    path, pooling = settings.sqlite_path, settings.poll_only
    if path is not None and not path.exists():
        return ()
    try:
        if schema.check(settings.database_url, transaction_pooling=pooling).is_current:
            return read(settings, keys.list_keys)
    except PromptmillError:
        pass  # The check of the database tells of it.
    return ()


def _check_address(settings: Settings, number: int) -> Finding:
    where = f"{settings.host}:{settings.port}"
    if is_loopback(settings.host):
        told = f"{where} is reached from this machine only; {number or 'no'} keys."
        return Finding("access", Level.OK, told)
    if number:
        advice = "A key goes over plain http: put a proxy with TLS before the service."
        return Finding("access", Level.NOTE, f"{where} is open, {number} keys.", advice)
    if settings.allow_no_keys:
        told = f"Whoever reaches {where} can use the service (PROMPTMILL_ALLOW_NO_KEYS)."
        return Finding("access", Level.WARNING, told, "`promptmill keys create NAME`")
    told = f"The service will not listen on {where} without keys."
    return Finding("access", Level.FAILURE, told, "`promptmill keys create NAME`")


def _check_keys(stored: Sequence[ApiKey]) -> Iterator[Finding]:
    now_ms = round(time.time() * 1000)
    over = [key.name for key in stored if key.expires_at_ms and key.expires_at_ms < now_ms]
    if over:
        told = f"Keys that have expired: {', '.join(over)}."
        advice = "Expired keys cannot be rotated: create new ones."
        yield Finding("access", Level.NOTE, told, advice)
    unused = [key.name for key in stored if key.is_live(now_ms) and not key.last_used_at_ms]
    if unused:
        told = f"Keys that were never used: {', '.join(unused)}."
        yield Finding("access", Level.NOTE, told, "`promptmill keys revoke NAME`")
    if (path := readable_key_file()) is not None:
        told = f"Others may read the key in {path}."
        yield Finding("access", Level.WARNING, told, f"chmod 600 {path}")
