"""Identity of this machine among the machines that use the same database."""

from __future__ import annotations

import hmac
import re
import socket
from pathlib import Path

LONGEST_MACHINE = 64
"""Most characters of a machine's identity."""
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


def identity_of_machine(id_file: Path = Path("/etc/machine-id")) -> str:
    """Twelve hexadecimal digits, a hash of the machine's id or, without an id, of its host name.

    The id itself stays private, as machine-id(5) asks.
    """
    try:
        machine_id = id_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine_id = ""
    # A container's file is often empty, and that of a machine that boots for the first time says
    # `uninitialized`.
    if not _MACHINE_ID.fullmatch(machine_id):
        return socket.gethostname()[:LONGEST_MACHINE] or "unknown"
    return hmac.digest(machine_id.encode(), b"promptmill", "sha256").hex()[:12]
