"""Checks of who can reach the service, and who may use it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from promptmill.diagnosis.database import read
from promptmill.diagnosis.findings import Finding, Level
from promptmill.domain.access.keys import ApiKey
from promptmill.domain.errors import PromptmillError
from promptmill.services.access import keys
from promptmill.settings import Settings, is_loopback
from promptmill.store.db import schema


def check_access(settings: Settings) -> Sequence[Finding]:
    """Where the service listens, and who may use it."""
    stored: Sequence[ApiKey] = ()
    try:
        path = settings.sqlite_path
        is_there = path is None or path.exists()
        pooling = settings.poll_only
        if is_there and schema.check(settings.database_url, transaction_pooling=pooling).is_current:
            stored = read(settings, keys.list_keys)
    except PromptmillError:
        pass  # The check of the database tells of it.
    number = len(stored) + len(settings.environment_keys)
    where = f"{settings.host}:{settings.port}"
    if is_loopback(settings.host):
        told = f"{where} is reached from this machine only; {number or 'no'} keys."
        found = [Finding("access", Level.OK, told)]
    elif number:
        advice = "A key goes over plain http: put a proxy with TLS before the service."
        found = [Finding("access", Level.NOTE, f"{where} is open, {number} keys.", advice)]
    elif settings.allow_no_keys:
        told = f"Whoever reaches {where} can use the service (PROMPTMILL_ALLOW_NO_KEYS)."
        found = [Finding("access", Level.WARNING, told, "`promptmill keys create NAME`")]
    else:
        told = f"The service will not listen on {where} without keys."
        found = [Finding("access", Level.FAILURE, told, "`promptmill keys create NAME`")]
    now_ms = time.time() * 1000
    over = [key.name for key in stored if key.expires_at_ms and key.expires_at_ms < now_ms]
    if over:
        told = f"Keys that have expired: {', '.join(over)}."
        found.append(
            Finding("access", Level.NOTE, told, "Rotate is not for these: create new ones.")
        )
    return found
