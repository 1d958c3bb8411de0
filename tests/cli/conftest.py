"""The command line in this process, and services for it: a pretended one and a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from typer.testing import CliRunner, Result

from promptmill.cli import cli
from promptmill.cli.service.child_processes import listening
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running_in_thread
from tests.cli.pretended import URL, Invoke, batch
from tests.cli.pretended_benchmarks import BENCHMARKS


@pytest.fixture
def invoke() -> Invoke:
    """`invoke("list", "--json", stdin=...)` runs a command."""

    def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, [str(one) for one in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            # A user would have seen a traceback.
            raise result.exception
        return result

    return run


@pytest.fixture
def service() -> Iterator[respx.MockRouter]:
    """What httpx would send to the default address goes to this router instead.

    It has the batch and the benchmarks by which short ids are found, unless a test says otherwise.
    """
    with respx.mock(base_url=URL, assert_all_called=False) as router:
        router.get("/batches").respond(200, json={"data": [batch()], "next_cursor": None})
        router.get("/benchmarks").respond(200, json=BENCHMARKS)
        yield router


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    """A pretend Ollama with one quick model."""
    settings = SimulatorSettings(
        models=(ModelSpec(name="tiny", speed=Speed(request_s=0.02)),), num_parallel=8
    )
    with running_in_thread(settings) as url:
        yield url


@pytest.fixture(scope="session")
def service_url(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real service, in a process of its own, before the pretend Ollama."""
    folder = tmp_path_factory.mktemp("service")
    with listening(serve_arguments(folder, simulator_url), folder / "service.log") as url:
        yield url


def serve_arguments(folder: Path, ollama_host: str, port: int = 0) -> list[str]:
    """`promptmill serve` on a database in that folder."""
    return [
        *("serve", "--port", str(port), "--worker", "--default-model", "tiny"),
        *("--database-url", f"sqlite:///{folder / 'promptmill.db'}"),
        *("--ollama-host", ollama_host),
    ]


@pytest.fixture(scope="session")
def ollama_url() -> Iterator[str]:
    """A simulated Ollama with the models that the pages name."""
    quick = Speed(decode_tokens_per_s=5000)
    names = ("qwen3:8b", "llama3.2:3b", "gemma3:1b", "qwen3:32b", "tiny")
    models = tuple(ModelSpec(name=name, speed=quick) for name in names)
    with running_in_thread(SimulatorSettings(models=models, num_parallel=10)) as url:
        yield url


@pytest.fixture(scope="session")
def mill_url(ollama_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real service before that Ollama, for what stands on the pages."""
    folder = tmp_path_factory.mktemp("mill")
    with listening(serve_arguments(folder, ollama_url), folder / "service.log") as url:
        yield url
