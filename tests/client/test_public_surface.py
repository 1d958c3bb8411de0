"""What the library offers to others."""

from __future__ import annotations

import httpx
import pytest

import promptmill.client
from promptmill.client.httpx_mapping import broken_off, checked_base_url, trusts_environment


def test_the_exported_names_are_sorted_and_all_there() -> None:
    constants = [name for name in promptmill.client.__all__ if name.isupper()]
    others = [name for name in promptmill.client.__all__ if not name.isupper()]

    assert promptmill.client.__all__ == sorted(constants) + sorted(others)
    assert all(hasattr(promptmill.client, name) for name in promptmill.client.__all__)


def test_both_clients_offer_the_same_methods() -> None:
    def methods(of: type) -> set[str]:
        return {name for name in vars(of) if not name.startswith("_")} - {"close", "aclose"}

    assert methods(promptmill.client.Promptmill) == methods(promptmill.client.AsyncPromptmill)


def _request_errors(of: type[httpx.RequestError]) -> set[type[httpx.RequestError]]:
    return {of}.union(*(_request_errors(kind) for kind in of.__subclasses__()))


SENT_OR_NOT = {
    httpx.ConnectError: False,
    httpx.ConnectTimeout: False,
    httpx.PoolTimeout: False,
    httpx.ProxyError: False,
    httpx.ReadError: True,
    httpx.ReadTimeout: True,
    httpx.WriteError: True,
    httpx.WriteTimeout: True,
    httpx.CloseError: True,
    httpx.LocalProtocolError: True,
    httpx.RemoteProtocolError: True,
    httpx.UnsupportedProtocol: True,
    httpx.DecodingError: True,
    httpx.TooManyRedirects: True,
}


def test_every_error_of_httpx_is_judged() -> None:
    abstract = {
        httpx.RequestError,
        httpx.TransportError,
        httpx.TimeoutException,
        httpx.NetworkError,
        httpx.ProtocolError,
    }
    of_httpx = {
        kind for kind in _request_errors(httpx.RequestError) if kind.__module__.startswith("httpx")
    }

    assert of_httpx - abstract == set(SENT_OR_NOT)
    for kind, was_sent in SENT_OR_NOT.items():
        assert broken_off(kind("what happened")).was_sent is was_sent


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://[::1",
        "http://a..b",
        f"http://{'a' * 64}.example",
    ],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        checked_base_url(url)


@pytest.mark.parametrize(
    ("url", "trusts"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost", False),
        ("http://10.0.0.4", True),
        ("https://mill.example.com/a", True),
    ],
)
def test_a_proxy_is_not_asked_for_this_machine(url: str, trusts: bool) -> None:
    assert trusts_environment(httpx.URL(url)) is trusts
