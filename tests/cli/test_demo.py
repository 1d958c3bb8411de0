"""`promptmill demo`: which model it takes, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pytest

from promptmill.cli.input.model_choice import Choice, candidates, choose_model, completes_text
from promptmill.cli.service import demonstration
from promptmill.ollama.models import InstalledModel, ModelInfo
from promptmill.simulator import ModelSpec, SimulatorSettings, running
from tests.cli.pretended import Invoke

SMALL = ModelSpec(name="small", size=2_000_000)
LARGE = ModelSpec(name="large", size=9_000_000, capabilities=("completion", "thinking"))
EMBEDDER = ModelSpec(name="embedder", size=1_500_000, capabilities=("embedding",))


@pytest.mark.parametrize(
    ("models", "preferred", "chosen"),
    [
        ([SMALL, LARGE], "large", "large:latest"),
        ([LARGE, EMBEDDER, SMALL], "qwen3:8b", "small:latest"),
        ([SMALL, EMBEDDER], "embedder", "small:latest"),
    ],
)
async def test_the_default_model_is_taken_else_the_smallest_that_completes_text(
    models: Sequence[ModelSpec], preferred: str, chosen: str
) -> None:
    async with running(SimulatorSettings(models=tuple(models))) as url:
        choice = await choose_model(url, preferred)

    assert isinstance(choice, Choice)
    assert (choice.ollama_host, choice.model) == (url, chosen)
    assert choice.thinks is (chosen == "large:latest")


async def test_a_server_without_a_model_for_text_is_explained() -> None:
    async with running(SimulatorSettings(models=(EMBEDDER,))) as url:
        assert await choose_model(url, "x") == (
            f"{url} answers, but it has no model that completes text."
        )


async def test_a_server_that_is_not_there_is_explained() -> None:
    assert "127.0.0.1:1" in str(await choose_model("127.0.0.1:1", "x"))


def test_a_model_in_a_cloud_is_not_taken_for_a_small_one() -> None:
    cloud = InstalledModel(name="gpt-oss:120b-cloud", size=384, digest="a")
    local = InstalledModel(name="big:latest", size=9_000_000_000, digest="b")

    assert candidates([cloud, local], "qwen3:8b") == [local]


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (ModelInfo(capabilities=("completion", "vision")), True),
        (ModelInfo(capabilities=("embedding",)), False),
        (ModelInfo(family="llama"), True),
        (ModelInfo(family="nomic-bert"), False),
    ],
)
def test_models_of_servers_that_list_no_capabilities_are_judged_by_their_family(
    info: ModelInfo, expected: bool
) -> None:
    assert completes_text(info) is expected


def test_the_packaged_prompts_are_a_few_dozen_with_their_licence_beside_them() -> None:
    data = resources.files("promptmill.cli") / "data"
    prompts = [json.loads(line) for line in (data / "demo_prompts.jsonl").read_text().splitlines()]

    assert len(prompts) == len({prompt["id"] for prompt in prompts}) == 40
    assert all(set(prompt) == {"id", "prompt"} for prompt in prompts)
    assert "Copyright (c) 2021 OpenAI" in (data / "LICENSE-GSM8K.md").read_text()


@pytest.mark.parametrize("content", [None, "", "not json"])
def test_prompts_that_cannot_be_read_are_refused_before_anything_starts(
    invoke: Invoke, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "prompts.jsonl"
    if content is not None:
        path.write_text(content)

    result = invoke("demo", "--prompts", path)

    assert result.exit_code == 2
    assert str(path) in result.stderr


def test_the_program_is_named_as_it_can_be_called(monkeypatch, tmp_path: Path) -> None:
    script = tmp_path / "clone" / ".venv" / "bin" / "promptmill"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.chdir(tmp_path / "clone")

    monkeypatch.setenv("PATH", "/nowhere")
    assert demonstration._program() == ".venv/bin/promptmill"
    monkeypatch.setenv("PATH", str(script.parent))
    assert demonstration._program() == "promptmill"
