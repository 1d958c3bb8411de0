"""PROMPTMILL_OLLAMA_HOSTS: both its forms, what is wrong with it, and that keys stay secret."""

from __future__ import annotations

import traceback

import pytest
from pydantic import ValidationError

from promptmill.domain.hosts.spec import HostSpec, parse_hosts
from promptmill.settings import Settings, SettingsError, load_settings

KEY = "sk-swordfish"


def hosts_of(monkeypatch: pytest.MonkeyPatch, text: str, **options: object) -> tuple[HostSpec, ...]:
    monkeypatch.setenv("PROMPTMILL_OLLAMA_HOSTS", text)
    return load_settings(**options).hosts


@pytest.mark.parametrize(
    "text",
    [
        f"gpu-1, https://big.example.com/x;slots=8;api_key={KEY};models=qwen3:8b|hf.co/a/b:Q4 ,[::1]",
        (
            f'["gpu-1", {{"url": "https://big.example.com/x", "slots": 8, "api_key": "{KEY}",'
            ' "models": ["qwen3:8b", "hf.co/a/b:Q4"]}, "[::1]"]'
        ),
        (
            f'  [ {{"url": "gpu-1"}}, {{"url": "https://big.example.com/x/", "slots": 8,'
            f' "api_key": "{KEY}", "models": [" qwen3:8b", "hf.co/a/b:Q4"]}}, {{"url": "[::1]"}} ]\n'
        ),
    ],
)
def test_both_forms_say_the_same(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert hosts_of(monkeypatch, text) == (
        HostSpec(url="http://gpu-1:11434"),
        HostSpec(
            url="https://big.example.com:443/x",
            slots=8,
            api_key=KEY,
            models=("qwen3:8b", "hf.co/a/b:Q4"),
        ),
        HostSpec(url="http://[::1]:11434"),
    )


@pytest.mark.parametrize("text", ["[::1]", "[2001:db8::7]:80,[::1]", "[fe80::1]:1"])
def test_an_ipv6_address_in_front_is_no_json(text: str) -> None:
    assert all(spec.url.startswith("http://[") for spec in parse_hosts(text))


def test_the_service_wide_slots_are_those_of_every_host_that_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMPTMILL_OLLAMA_SLOTS", "3")
    assert [host.slots for host in hosts_of(monkeypatch, "a,b;slots=1")] == [3, 1]
    assert [host.slots for host in hosts_of(monkeypatch, "")] == [3]


@pytest.mark.parametrize("text", ["", "  "])
def test_a_blank_list_means_the_one_host(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu")
    assert hosts_of(monkeypatch, text) == (HostSpec(url="http://gpu:11434"),)


def test_the_list_goes_before_the_one_host_and_an_option_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu")
    assert [host.url for host in hosts_of(monkeypatch, "a,b")] == [
        "http://a:11434",
        "http://b:11434",
    ]
    (only,) = hosts_of(monkeypatch, "a,b", ollama_host="c")
    assert only.url == "http://c:11434"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu-1,gpu-1:11434", "entries 1 and 2 are the same host, http://gpu-1:11434; keep one"),
        ('["a", {"url": "b"}, "http://A:11434"]', "entries 1 and 3 are the same host"),
        ("gpu-1,ftp://x", "entry 2: 'ftp://x' must start with http://"),
        ("gpu-1:99999", "entry 1: 'gpu-1:99999' has the port '99999'; a port is a number"),
        ("a,,b", "entry 2 names no host; write it like"),
        ("a;slots=0", "slots of entry 1 must be a whole number from 1 to 4096"),
        ("a;slots=4097", "slots of entry 1 must be a whole number from 1 to 4096"),
        ("a;slots=" + "9" * 5000, "slots of entry 1 must be a whole number from 1 to 4096"),
        ("a;slots=four", "slots of entry 1 must be a whole number from 1 to 4096"),
        ('[{"url": "a", "slots": true}]', "slots of entry 1 must be a whole number"),
        ('[{"url": "a", "slots": "4"}]', "slots of entry 1 must be a whole number"),
        ("a;slots=1;slots=2", "entry 1 says slots twice; keep one"),
        ("a,slots=4", "entry 2 is an option, not a host; options follow their host after ';'"),
        ("a;slot=4", "option 1 of entry 1 is none of slots=, api_key=, basic_auth= and models="),
        ("a;models=", "models of entry 1 must name at least one model"),
        ("a;models=b||c", "models of entry 1 must name at least one model, none of them empty"),
        ('[{"url": "a", "models": "b"}]', "models of entry 1 must name at least one model"),
        ('[{"url": "a", "models": [1]}]', "models of entry 1 must name at least one model"),
        ('[{"slots": 4}]', 'entry 1 needs "url"'),
        ('[{"url": "a", "slot": 4}]', "entry 1 has 'slot', which is none of url, slots, api_key"),
        ("[[]]", "entry 1 must be an address or an object"),
        ("a;basic_auth=me", "basic_auth of entry 1 must be NAME:PASSWORD"),
        ("a;basic_auth=:pw", "basic_auth of entry 1 must be NAME:PASSWORD"),
        (
            '[{"url": "a", "basic_auth": ["me", "pw"]}]',
            "basic_auth of entry 1 must be NAME:PASSWORD",
        ),
        ("a;basic_auth=me:pw;api_key=k", "entry 1 has api_key and basic_auth; keep one"),
        ("[]", "the list is empty; name a host, or leave the variable unset"),
        ('["a"', "begins like a JSON list but is not one (Expecting ',' delimiter"),
        ('["a"], "b"', "begins like a JSON list but is not one (Extra data"),
        ("[" * 100_000, "begins like a JSON list but is not one"),
        ("[", "begins like a JSON list but is not one"),
    ],
)
def test_what_is_wrong_names_the_variable_the_entry_and_the_fix(
    monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        hosts_of(monkeypatch, text)
    assert str(caught.value).startswith(f"PROMPTMILL_OLLAMA_HOSTS: {says}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_key_is_neither_in_a_repr_nor_in_a_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_OLLAMA_HOSTS", f"gpu;api_key={KEY}")
    settings = load_settings()

    assert settings.hosts[0].api_key == KEY
    for text in (repr(settings), str(settings), repr(settings.hosts), settings.model_dump_json()):
        assert KEY not in text


@pytest.mark.parametrize(
    "text",
    [
        f"gpu;api_key=a,{KEY}$",  # The rest of a key with a comma looks like another host.
        f"gpu;api_key=a;{KEY}",
        f"gpu;api_key=a;{KEY}==",
        f"gpu;api_key={KEY}\u00e9",
        f"gpu;api_key=Bearer {KEY}",
        f"gpu;apikey={KEY}",
        f"gpu,api_key={KEY}",
        f"http://{KEY}@gpu",
        f"http://gpu?api_key={KEY}",
        f'["gpu", {{"url": "a", "api-key": "{KEY}"}}]',
        f'["gpu", {{"url": "a", "api_key": "{KEY}" "slots": 4}}]',
        f'[{{"url": "http://x@y", "api_key": "{KEY}"}}]',
        f'[{{"url": "a", "api_key": ["{KEY}"]}}]',
        f"gpu;basic_auth=me:a,{KEY}$",
        f"gpu;basic_auth={KEY}",
        f"gpu;basic_auth=me:a;{KEY}",
        f"http//me:{KEY}@gpu",
        f"ftp://me:{KEY}@gpu",
    ],
)
def test_no_error_shows_a_key(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PROMPTMILL_OLLAMA_HOSTS", text)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert KEY not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert KEY not in str(caught.value)
