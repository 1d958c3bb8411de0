"""Generates the synchronous client, `client/_sync`, from the asyncio client, `client/_async`.

.venv/bin/python scripts/sync_client.py           # writes the files
.venv/bin/python scripts/sync_client.py --check   # fails if they are not up to date
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "app" / "promptmill" / "client" / "_async"
TARGET = SOURCE.with_name("_sync")
HEADER = "# Generated from _async/{name} by scripts/sync_client.py: change that file instead.\n"

# In this order: a longer text before one that it contains.
RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"asyncio\.sleep", "time.sleep"),
        (r"\basyncio (client|connection)", r"synchronous \1"),
        (r"an `async with`", "a `with`"),
        (r"\basync (def|with|for)\b", r"\1"),
        (r"\bawait ", ""),
        (r"AsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
        (r"Awaitable\[(\w+)\]", r"\1"),
        (r", Awaitable\b", ""),
        (r"httpx\.AsyncClient", "httpx.Client"),
        (r"httpx\.AsyncBaseTransport", "httpx.BaseTransport"),
        (r"\bAsync(?=[A-Z])", ""),
        (r"\basync_(?=arguments_of)", ""),
        (r"__a(enter|exit|iter)__", r"__\1__"),
        (r"\ba(close|read|closing|iter_bytes)\b", r"\1"),
        (r"client\._async\b", "client._sync"),
    )
)


def synchronous(source: Path) -> str:
    """The synchronous form of a module, formatted."""
    text = source.read_text()
    # Of asyncio only `sleep` is used.
    text = text.replace("import asyncio\n", "" if "import time\n" in text else "import time\n")
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    text = HEADER.format(name=source.name) + text
    target = str(TARGET / source.name)
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", target, "-"]
        text = subprocess.run(
            ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    return text


def main() -> int:
    """Write the files, or with `--check` name those that are not up to date."""
    modules = [path for path in sorted(SOURCE.glob("*.py")) if path.name != "__init__.py"]
    wanted = {TARGET / path.name: synchronous(path) for path in modules}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += [
        path for path in TARGET.glob("*.py") if path not in wanted and path.stem != "__init__"
    ]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.write_text(wanted[path]) if path in wanted else path.unlink()
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not up to date; run scripts/sync_client.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
