"""API keys, names and passwords: sent to their host, shown to nobody."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from promptmill.domain.calls import Call
from promptmill.domain.hosts.credentials import Credentials, basic, bearer
from promptmill.domain.outcomes import ErrorCode, Failed, Succeeded
from promptmill.manager import OllamaManager
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError
from tests.ollama.raw_host import LAST, Exchange, Respond, plain, raw_host

NAME, PASSWORD = "mé", "pass:wörd;1,2"
BASIC = basic(f"{NAME}:{PASSWORD}")
ENCODED = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()


def guarded(credentials: Credentials) -> Respond:
    """A host that lets in whoever has the credentials, and tells the others what they sent."""

    async def respond(exchange: Exchange) -> None:
        header = f"authorization: {credentials.authorization}".lower().encode()
        if header not in exchange.head.lower():
            sent = exchange.head.lower().partition(b"authorization: ")[2].split(b"\r\n")[0]
            told = {"error": f"{sent.decode()} and {PASSWORD} are not known"}
            await exchange.send(plain("401 Unauthorized", json.dumps(told).encode()))
        elif exchange.head.startswith(b"GET"):
            await exchange.send(plain("200 OK", b'{"version": "1", "models": []}'))
        else:
            await exchange.send(plain("200 OK", LAST, "application/x-ndjson"))

    return respond


@pytest.mark.parametrize("credentials", [BASIC, bearer("sk-123")], ids=["basic", "bearer"])
async def test_credentials_go_with_every_request_to_their_host(credentials: Credentials) -> None:
    async with raw_host(guarded(credentials)) as raw:
        client = OllamaClient(raw.url, credentials=credentials)
        assert await client.version() == "1"
        assert isinstance(await client.run(Call(model="m", prompt="x")), Succeeded)
        await client.aclose()


@pytest.mark.parametrize(
    "given", [{"basic_auth": f"{NAME}:{PASSWORD}"}, {"api_key": "sk-123"}], ids=["basic", "bearer"]
)
async def test_the_manager_takes_them_too(given: dict[str, str]) -> None:
    credentials = BASIC if "basic_auth" in given else bearer("sk-123")
    async with raw_host(guarded(credentials)) as raw:
        manager = OllamaManager(raw.url, **given)
        (result,) = await manager.batch_generate(["x"], model="m")
        assert result["success"]
        assert await asyncio.to_thread(manager.check_ollama_running)


async def test_a_host_that_does_not_know_them_is_told_with_the_way_to_give_them() -> None:
    async with raw_host(guarded(bearer("another"))) as raw:
        client = OllamaClient(raw.url, credentials=BASIC)
        outcome = await client.run(Call(model="m", prompt="x"))
        with pytest.raises(OllamaError) as caught:
            await client.version()
        await client.aclose()
        manager = OllamaManager(raw.url, basic_auth=f"{NAME}:{PASSWORD}")
        figures = await asyncio.to_thread(manager.benchmark_model, "m")

    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.HOST_REFUSED
    for message in (outcome.message, str(caught.value), figures["error"]):
        assert "api_key or basic_auth of the host can give one" in message
        assert "are not known" in message
        assert PASSWORD not in message
        assert ENCODED not in message


@pytest.mark.parametrize("text", ["", "me", ":pw", "me:", "me:p\nw", "me:p\x00"])
def test_what_is_no_name_with_a_password_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must be NAME:PASSWORD") as caught:
        basic(text)
    assert not text or text not in str(caught.value)


def test_nothing_of_them_is_in_a_repr() -> None:
    assert PASSWORD not in repr(BASIC)
    assert ENCODED not in repr(BASIC)


def test_an_address_with_a_password_names_the_other_way_and_not_the_password() -> None:
    with pytest.raises(ValueError, match=r"OllamaManager as basic_auth") as caught:
        OllamaManager("http://me:swordfish@gpu")
    assert "swordfish" not in str(caught.value)
    with pytest.raises(ValueError, match="give one"):
        OllamaManager("http://gpu", api_key="k", basic_auth="me:pw")
