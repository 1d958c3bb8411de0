"""`promptmill hosts`, against a pretended service."""

from __future__ import annotations

import json
from typing import Any

import pytest
import respx

from promptmill.cli.commands.hosts import state_of
from promptmill.client import Host
from promptmill.contract.service import ModelPage
from tests.cli.pretended import Invoke
from tests.documents import whole

HOST: dict[str, Any] = whole(
    Host,
    {
        "id": "host_1",
        "enabled": True,
        "url": "http://gpu-1:11434",
        "reachable": True,
        "error": None,
        "version": "0.24.0",
        "slots": 4,
        "in_flight": 3,
        "held_by": None,
        "models": 12,
        "only_models": None,
        "loaded_models": [
            {"name": "qwen3:8b", "size": 8_000_000_000, "size_vram": 6_000_000_000},
            {"name": "\x1b[2Jtiny", "size": 0, "size_vram": 0, "context_length": 4096},
        ],
        "loaded_models_age_s": 0.0,
        "groups": [],
        "quarantine": None,
        "on_trial": False,
        "calls": 1319,
        "failed": 0,
        "latency_s": 0.514,
    },
)
REASON = "No connection to http://gpu-2:11434 could be made"
DOWN = {
    **HOST,
    "id": "host_2",
    "url": "http://gpu-2:11434",
    "reachable": False,
    "error": REASON,
    "version": None,
    "slots": None,
    "in_flight": 0,
    "models": None,
    "loaded_models": None,
    "quarantine": {"next_look_s": 3.24, "error_code": "host_unreachable", "reason": REASON},
    "failed": 7,
    "latency_s": None,
}


def test_hosts_are_listed_with_their_state_and_the_reason_below(
    invoke: Invoke, service: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    service.get("/hosts").respond(200, json={"data": [HOST, DOWN], "next_cursor": None})

    shown = invoke("hosts").stdout

    for text in (
        *("http://gpu-1:11434", "ready", "0.24.0", "3/4", "12", "1319", "0.51 s"),
        *("qwen3:8b 8.0 GB (75% VRAM)", "aside, 3.2 s", "0/-", f"\n  {REASON}\n"),
    ):
        assert text in shown
    assert "\x1b" not in shown
    one, down = (json.loads(line) for line in invoke("hosts", "--json").stdout.splitlines())
    assert (one, down) == (HOST, DOWN)


def test_hosts_of_the_same_address_on_two_machines_are_told_apart(
    invoke: Invoke, service: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    local = {**HOST, "url": "http://127.0.0.1:11434"}
    hosts = [local | {"machine": "gpu-box"}, local | {"machine": "laptop", "error": "gone"}]
    service.get("/hosts").respond(200, json={"data": hosts, "next_cursor": None})
    both = invoke("hosts").stdout
    service.get("/hosts").respond(200, json={"data": hosts[:1], "next_cursor": None})
    alone = invoke("hosts").stdout

    assert "http://127.0.0.1:11434 of gpu-box" in both
    assert "http://127.0.0.1:11434 of laptop" in both
    assert both.endswith("\n  gone\n")
    assert "gpu-box" not in alone


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "ready"),
        ({"on_trial": True}, "on trial"),
        ({"on_trial": None, "calls": None}, "ready"),
        ({"held_by": "bench_1"}, "benchmark"),
        ({"reachable": False, "held_by": "bench_1"}, "unreachable"),
        ({"quarantine": DOWN["quarantine"]}, "aside, 3.2 s"),
    ],
)
def test_a_host_s_state_is_a_word_or_two(fields: dict[str, Any], state: str) -> None:
    assert state_of(Host.model_validate(HOST | fields)) == state


def test_models_tell_on_how_many_of_their_hosts_they_are_loaded(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    model = {"name": "tiny", "hosts": ["http://a", "http://b"], "loaded_on": ["http://b"]}
    alone = {"name": "alone", "hosts": ["http://a"], "loaded_on": ["http://a"]}
    service.get("/models").respond(200, json=whole(ModelPage, {"data": [model, alone]}))

    shown = invoke("models").stdout

    assert "1 of 2" in shown
    assert "yes" in shown


def test_a_host_is_taken_out_of_service_and_back_by_its_address_or_id(
    invoke: Invoke, service: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    service.get("/hosts").respond(200, json={"data": [HOST, DOWN], "next_cursor": None})
    changed = service.patch("/hosts/host_1").respond(200, json=HOST | {"enabled": False})

    for name in ("host_1", "http://gpu-1:11434/", "gpu-1:11434"):
        assert "out of service" in invoke("hosts", "--disable", name).stdout
        assert json.loads(changed.calls.last.request.content) == {"enabled": False}
    invoke("hosts", "--enable", "host_1")
    assert json.loads(changed.calls.last.request.content) == {"enabled": True}


def test_an_unknown_host_is_refused_with_those_that_there_are(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.get("/hosts").respond(200, json={"data": [HOST, DOWN], "next_cursor": None})
    refused = invoke("hosts", "--disable", "gpu-9")
    assert refused.exit_code == 2
    assert "http://gpu-1:11434 (host_1)" in " ".join(refused.stderr.replace("│", " ").split())
