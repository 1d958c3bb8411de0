"""The command `promptmill simulate`: its options and what it refuses."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import get_args, get_type_hints

import httpx
import pytest
import typer
from typer.testing import CliRunner

from promptmill.cli.commands.simulate import simulate

COMMAND = "import typer; from promptmill.cli.commands.simulate import simulate; typer.run(simulate)"


def application():
    command = typer.Typer()
    command.command()(simulate)
    return command


def test_every_option_has_one_line_of_help():
    hints = get_type_hints(simulate, include_extras=True)
    for name in inspect.signature(simulate).parameters:
        help_text = next(part.help for part in get_args(hints[name])[1:])
        assert help_text, name
        assert "\n" not in help_text


@pytest.mark.parametrize(
    "options",
    [
        ["--profile", "warp"],
        ["--fault", "nonsense"],
        ["--fault-rate", "0.1", "--fault-kinds", "x"],
        ["--answer-tokens", "many"],
        ["--num-parallel", "0"],
    ],
    ids=lambda options: options[0] + options[-1],
)
def test_a_wrong_option_is_refused(options):
    result = CliRunner().invoke(application(), options)
    assert result.exit_code == 2


@pytest.mark.proof
async def test_it_says_where_it_listens_and_does_what_the_options_say(tmp_path):
    log = tmp_path / "calls.jsonl"
    options = [
        "--port",
        "0",
        "--models",
        "one,two",
        "--profile",
        "instant",
        "--latency",
        "0.5",
        "--prefill",
        "100000",
        "--num-parallel",
        "3",
        "--no-prefix-cache",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMMAND,
        *options,
        "--fault",
        "503 first=1",
        "--log",
        str(log),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said = (await process.stdout.readline()).decode().strip()
        url = said.split(" on ")[1].split()[0]
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            names = [model["name"] for model in (await client.get("/api/tags")).json()["models"]]
            body = {"model": "one", "prompt": "x", "stream": False}
            refused = await client.post("/api/generate", json=body)
            answers = await asyncio.gather(
                *[client.post("/api/generate", json=body) for _ in range(3)]
            )
            await client.post("/api/generate", json=body)
            # The line of the end may be written just after the answer was read.
            stats = (await client.get("/simulator/stats")).json()
    finally:
        process.kill()
        _, complaints = await process.communicate()
    assert said == f"Simulated Ollama, not a real model, on {url} (models: one, two)"
    assert names == ["two:latest", "one:latest"]
    assert refused.status_code == 503
    # A pause may end a third of a millisecond early: no timer is finer.
    assert all(answer.json()["total_duration"] / 1e9 >= 0.499 for answer in answers)
    assert stats["models"]["one:latest"]["peak_in_slots"] == 3
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert (events.count("arrived"), events.count("ended")) == (5, 5)
    assert json.loads(log.read_text().splitlines()[-1])["cached_tokens"] == 0
    assert complaints == b""
