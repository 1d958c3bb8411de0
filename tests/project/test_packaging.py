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
from zipfile import ZipFile

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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--out-dir", folder / "dist", cwd=ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"promptmill"}
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    run(UV, "pip", "install", "--python", environment / "bin" / "python", wheel)
    return environment


def test_the_wheel_in_an_empty_environment_serves(installed: Path, tmp_path: Path) -> None:
    check_service(installed / "bin" / "promptmill", tmp_path)


def test_a_project_with_a_package_of_the_name_app_imports_the_clients_and_no_server(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("OWN = True")
    (tmp_path / "use.py").write_text(
        "import sys\n"
        "from promptmill import AsyncPromptmill, OllamaManager, Promptmill\n"
        "import app\n"
        "assert app.OWN\n"
        "assert not {'fastapi', 'sqlalchemy', 'sqlmodel', 'uvicorn'} & set(sys.modules)\n"
    )
    run(installed / "bin" / "python", "use.py", cwd=tmp_path)


def test_the_installed_service_takes_at_most_280_mb(installed: Path) -> None:
    files = (path for path in (installed / "lib").rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) <= 280e6


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
