"""What a shell offers for a half-typed word."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import respx
from typer.testing import CliRunner

from promptmill.cli import cli
from promptmill.contract.service import ModelPage
from tests.cli.pretended import batch
from tests.documents import whole

Offered = Callable[..., list[str]]
ONE = "batch_01m89k209d8r7xc03jdph78fhn"
TWO = "batch_01m89k18gfpc6b2p3yks21bst9"


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Offered:
    """`offered("show ")` is what bash is offered there; anything on stderr fails the test.

    The service may take its time, for the machine may be busy.
    """
    monkeypatch.setattr("promptmill.cli.service.completion._MOST_S", 60.0)

    def complete(line: str, **variables: str) -> list[str]:
        words = line.split(" ")
        environment = {
            "_PROMPTMILL_COMPLETE": "complete_bash",
            "COMP_WORDS": f"promptmill {line}",
            "COMP_CWORD": str(len(words)),
            **variables,
        }
        result = CliRunner().invoke(cli, [], env=environment, prog_name="promptmill")
        assert result.stderr == ""
        return result.stdout.split()

    return complete


@pytest.fixture
def two(service: respx.MockRouter) -> respx.MockRouter:
    """Two batches with labels, and two models."""
    batches = [batch() | {"id": ONE, "label": "nightly"}, batch() | {"id": TWO, "label": "a b"}]
    router = service
    router.routes.clear()
    router.get("/batches").respond(200, json={"data": batches, "next_cursor": None})
    router.get("/models").respond(
        200, json=whole(ModelPage, {"data": [{"name": "tiny:latest"}, {"name": "qwen3"}]})
    )
    return router


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("command", ["show", "watch", "results", "cancel", "delete", "set"])
def test_batches_are_offered_by_label_and_id(offered: Offered, command: str) -> None:
    assert offered(f"{command} ") == ["@last", "nightly", ONE, TWO]
    assert offered(f"{command} batch_01m89k2") == [ONE]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("words", ["run ", "bench ", "submit --model ", "list --model "])
def test_models_are_offered(offered: Offered, words: str) -> None:
    assert offered(words) == ["tiny:latest", "qwen3"]
    assert offered(f"{words}q") == ["qwen3"]


def test_states_are_offered(offered: Offered) -> None:
    assert offered("list --status c") == ["cancelling", "completed", "cancelled"]


def test_nothing_is_offered_while_the_service_is_down(offered: Offered) -> None:
    assert offered("show ", PROMPTMILL_URL="http://127.0.0.1:1") == []


def test_a_service_that_never_answers_does_not_hold_the_shell(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptmill.cli.service.completion._MOST_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert offered("show ", PROMPTMILL_URL=url) == []


def test_a_key_that_cannot_be_read_offers_nothing(offered: Offered) -> None:
    assert offered("show ", PROMPTMILL_URL="nonsense") == []
