"""The synchronous client is generated from the asyncio client."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path("scripts") / "sync_client.py"
CLIENT = Path("app") / "promptmill" / "client"


def check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The script and both clients in another folder."""
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", str(SCRIPT)):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("_async", "_sync"):
        shutil.copytree(ROOT / CLIENT / name, tmp_path / CLIENT / name)
    return tmp_path


def test_the_synchronous_client_is_what_the_script_makes_of_the_asyncio_client() -> None:
    found = check(ROOT, "--check")

    assert (found.returncode, found.stdout) == (0, "")


def test_a_change_of_the_source_alone_is_found_and_carried_over(copied: Path) -> None:
    source = copied / CLIENT / "_async" / "watching.py"
    source.write_text(source.read_text() + "\n\nasync def added() -> None:\n    await added()\n")

    stale = check(copied, "--check")
    check(copied)

    assert stale.returncode == 1
    assert "app/promptmill/client/_sync/watching.py is not up to date" in stale.stdout
    written = (copied / CLIENT / "_sync" / "watching.py").read_text()
    assert written.endswith("\n\ndef added() -> None:\n    added()\n")
    assert check(copied, "--check").returncode == 0
