"""What a user installs: the wheel into an empty environment, and the Dockerfile's own steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def run(*command: str | Path, **options: object) -> None:
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def served(promptmill: Path, folder: Path) -> Iterator[str]:
    """The installed command serves from a folder that is not the checkout."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    process = subprocess.Popen(
        [promptmill, "serve", "--port", "0", "--ollama-host", ":1"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=20)


def check_service(promptmill: Path, folder: Path) -> None:
    with served(promptmill, folder) as url:
        assert httpx.get(f"{url}/health", timeout=20).status_code == 200
        accepted = httpx.post(f"{url}/batches", json={"prompts": ["Question 1"]})
        assert accepted.status_code == 202
        assert httpx.get(f"{url}/docs").status_code == 200
    assert (folder / "promptmill" / "promptmill.db").exists()


def test_the_wheel_in_an_empty_environment_serves(tmp_path: Path) -> None:
    run(UV, "build", "--wheel", "--out-dir", tmp_path / "dist", cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    run(UV, "pip", "install", "--python", environment / "bin" / "python", wheel)
    check_service(environment / "bin" / "promptmill", tmp_path)


def test_the_steps_of_the_dockerfile_give_an_environment_that_serves(tmp_path: Path) -> None:
    """The build stage, step by step in a scratch folder; there is no engine in the tests."""
    scratch, target = tmp_path / "src", tmp_path / "opt"
    scratch.mkdir()
    build = (ROOT / "Dockerfile").read_text().partition("AS build\n")[2].partition("\nFROM ")[0]
    environment = {**os.environ, "UV_PYTHON": sys.executable}
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.sub(r"\\\n", " ", build).splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            for pair in rest.split():
                name, _, value = pair.partition("=")
                environment[name] = value.replace("/opt/promptmill", str(target))
        elif word == "COPY":
            *sources, destination = rest.split()
            for source in sources:
                assert f"!{source}" in ignored, f".dockerignore keeps {source} out"
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, scratch / destination)
                else:
                    shutil.copy(ROOT / source, scratch / destination)
        elif word == "RUN" and rest.startswith("uv "):
            run(UV, *rest.split()[1:], cwd=scratch, env=environment)
    check_service(target / "bin" / "promptmill", tmp_path)
