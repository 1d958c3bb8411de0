"""What runs where the modules that only Unix or Linux has are missing, as on Windows and macOS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.store.db.file_lock import lock_file

WITHOUT = """
import importlib, pkgutil, signal, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"uvloop", "fcntl", "resource", "pwd", "grp", "termios"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("uvloop", "fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
"""
WITHOUT_SIGNALS = """
import asyncio
def no_handlers(self, *given):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = no_handlers
asyncio.SelectorEventLoop.remove_signal_handler = no_handlers
for name in ("pause", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGSTOP", "sigwait"):
    if hasattr(signal, name):
        delattr(signal, name)
"""
IMPORT_ALL = """
import promptmill
for module in pkgutil.walk_packages(promptmill.__path__, "promptmill."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported", "uvloop" in sys.modules, "fcntl" in sys.modules)
"""
RUN = """
from promptmill.__main__ import main
sys.argv = ["promptmill", *sys.argv[1:]]
main()
"""


def test_every_module_is_imported_without_what_only_unix_has() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT + IMPORT_ALL], capture_output=True, text=True, check=False
    )

    assert (ran.stdout, ran.returncode) == ("imported False False\n", 0), ran.stderr


@pytest.mark.proof
def test_a_batch_is_served_from_end_to_end_without_what_only_unix_has(tmp_path: Path) -> None:
    # The demonstration is a simulator, a service on SQLite and a client, each as a process.
    # `-m promptmill` of its children begins with what `sitecustomize` says.
    (tmp_path / "sitecustomize.py").write_text(WITHOUT + WITHOUT_SIGNALS)
    environment = {
        "PATH": "",
        "PYTHONPATH": str(tmp_path),
        "OLLAMA_HOST": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
    }

    ran = subprocess.run(
        [sys.executable, "-m", "promptmill", "demo", "--limit", "5"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "5/5" in ran.stderr


def test_a_process_is_stopped_by_a_signal_where_the_loop_takes_no_handlers() -> None:
    program = WITHOUT + WITHOUT_SIGNALS + RUN
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Simulated Ollama")

        process.terminate()

        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_lock_is_held_by_one_until_it_is_released_or_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "mill.db.lock"
    hold = "import sys; from pathlib import Path; from promptmill.store.db.file_lock import *;"
    hold += "held = lock_file(Path(sys.argv[1])); print(held is not None, flush=True); input()"
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert lock_file(path) is None
        other.kill()
    mine = lock_file(path)
    assert mine is not None

    # That somebody in this process asks in vain takes nothing from who holds it.
    assert lock_file(path) is None
    asked = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert asked.stdout == "False\n"

    mine.release()
    asked = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert asked.stdout == "True\n"


def test_a_file_that_may_only_be_read_is_not_taken_for_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mill.db.lock"
    # Root, as whom the tests may run, may write everywhere.
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(PermissionError, match="Permission denied"):
        lock_file(path)
