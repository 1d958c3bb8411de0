"""The installation as the document that clients read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from promptmill.services.monitoring.installation import Installation


def installation_document(found: Installation) -> dict[str, Any]:
    """Versions, settings in force, and the database."""
    database, disk = found.database, found.disk
    return {
        "version": found.version,
        "python": found.python,
        "database": {
            "url": found.database_url,
            "version": database.version,
            "schema_revision": database.revision,
            "size_bytes": database.size_bytes,
            "unused_bytes": database.unused_bytes,
            "wal_bytes": None if disk is None else disk.wal_bytes,
            "disk_free_bytes": None if disk is None else disk.free_bytes,
        },
        "retention_s": dict(found.retention_s),
        "settings": [asdict(setting) for setting in found.settings],
    }
