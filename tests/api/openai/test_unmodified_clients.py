"""Clients as their users have them, each newly installed, do at the service what their users do.

The programs are in `clients/`. What they need is installed once, into `.tools/clients`; without a
package index, or without Node, the clients that need it are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.proof.processes import Service

pytestmark = pytest.mark.proof

PROGRAMS = Path(__file__).parent / "clients"
ROOT = PROGRAMS.parents[3]
INSTALLED = ROOT / ".tools" / "clients"
INSTALL_WITHIN_S, RUN_WITHIN_S = 300, 180

PYTHON = {
    "openai==1.109.1": "openai_python.py",
    "openai==2.54.0": "openai_python.py",
    "openai==3.57.0": "openai_python.py",
    "litellm==1.110.2": "with_litellm.py",
    "instructor==1.17.0": "with_instructor.py",
    "langchain-openai==1.7.4": "with_langchain.py",
}
"""The package, and the program that uses it."""
TSC = "--strict --skipLibCheck --types node --target es2022 --module nodenext"
NODE = ("openai@6.49.0", "typescript@7.0.2", "@types/node@20")


@pytest.fixture
def service_url(database_url: str, ollama_url: str, tmp_path: Path) -> Iterator[str]:
    service = Service(folder=tmp_path, DATABASE_URL=database_url, OLLAMA_HOST=ollama_url)
    try:
        service.until_up()
        yield service.url
    finally:
        service.stop()


def install(*command: str | Path) -> None:
    """Run an installer; without what it installs there is nothing to prove."""
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=INSTALL_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[-1]} could not be installed within {INSTALL_WITHIN_S} s")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[-1]} could not be installed: {error.stderr.strip()[-400:]}")


def uv(*arguments: str | Path) -> None:
    install(shutil.which("uv") or ROOT / ".tools" / "bin" / "uv", *arguments)


def python_with(package: str) -> Path:
    """The Python of an environment that has only this package and what it needs."""
    folder = INSTALLED / package
    done = folder / "installed"
    if not done.exists():
        uv("venv", "--quiet", "--clear", "--python", sys.executable, folder)
        uv("pip", "install", "--quiet", "--python", folder / "bin" / "python", package)
        done.touch()
    return folder / "bin" / "python"


def run(command: Sequence[str | Path], service_url: str) -> None:
    """Run a client's program, which fails by itself when anything is not as it has to be."""
    surroundings = {
        "PATH": os.environ["PATH"],
        "OPENAI_BASE_URL": f"{service_url}/v1",
        "OPENAI_API_KEY": "any",
        # LiteLLM fetches a list of prices from the network unless told.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(
        command, check=False, env=surroundings, capture_output=True, text=True, timeout=RUN_WITHIN_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PYTHON)
def test_a_library_of_python(service_url: str, tmp_path: Path, package: str) -> None:
    run([python_with(package), PROGRAMS / PYTHON[package], tmp_path], service_url)


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no Node on this machine")
def test_openais_library_for_node(service_url: str, tmp_path: Path) -> None:
    folder = INSTALLED / "-".join(NODE).replace("/", "_")
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        install("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *NODE)
        (folder / "installed").touch()
    source = folder / "client.mts"
    shutil.copy(PROGRAMS / "openai_node.ts", source)

    packages = folder / "node_modules"
    types = ("--typeRoots", packages / "@types")
    run([packages / ".bin" / "tsc", *TSC.split(), *types, source], service_url)
    run(["node", source.with_suffix(".mjs"), tmp_path], service_url)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_curl_alone(service_url: str, tmp_path: Path) -> None:
    run(["/bin/sh", PROGRAMS / "with_curl.sh", tmp_path], service_url)
