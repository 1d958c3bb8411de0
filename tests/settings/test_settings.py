"""Settings: every form of an address, and a wrong one that names itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from promptmill.domain.hosts.credentials import basic, bearer
from promptmill.domain.hosts.spec import HostSpec
from promptmill.machine import identity_of_machine
from promptmill.settings import (
    Settings,
    SettingsError,
    load_settings,
    settings_page,
    variable_name,
)


def test_nothing_has_to_be_set() -> None:
    settings = load_settings()
    assert settings.ollama_host == "http://127.0.0.1:11434"
    assert settings.host == "127.0.0.1"
    assert settings.ollama_slots is None
    assert settings.hosts == (HostSpec(url="http://127.0.0.1:11434"),)
    assert settings.sqlite_path is not None
    assert settings.sqlite_path.name == "promptmill.db"


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("gpu", "http://gpu:11434"),
        ("gpu:80", "http://gpu:80"),
        (":5000", "http://127.0.0.1:5000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("https://ollama.example.com/api-path/", "https://ollama.example.com:443/api-path"),
        ("[::1]:1", "http://[::1]:1"),
    ],
)
def test_ollama_host_takes_every_form_of_ollamas_client(
    monkeypatch: pytest.MonkeyPatch, given: str, means: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert load_settings().ollama_host == means


def test_an_option_goes_before_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_PORT", "9000")
    monkeypatch.setenv("OLLAMA_HOST", "elsewhere")
    settings = load_settings(port=9001, ollama_host="gpu", host=None)
    assert (settings.port, settings.ollama_host) == (9001, "http://gpu:11434")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("PROMPTMILL_PORT", "80000", "65535"),
        ("PROMPTMILL_LEASE_S", "soon", "number"),
        ("PROMPTMILL_OLLAMA_SLOTS", "0", "greater than or equal to 1"),
        ("PROMPTMILL_HEARTBEAT_S", "15", "third of lease_s"),
        ("PROMPTMILL_LOG_LEVEL", "loud", "debug"),
        ("PROMPTMILL_MACHINE", "the GPU box", "such as gpu-box-1"),
        ("OLLAMA_HOST", "ftp://x", "http://"),
        ("DATABASE_URL", "mysql://x/y", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:", "loses accepted work"),
    ],
)
def test_a_wrong_setting_names_itself_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert says in str(caught.value)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_PORT", "x")
    monkeypatch.setenv("PROMPTMILL_DRAIN_S", "-1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "PROMPTMILL_PORT",
        "PROMPTMILL_DRAIN_S",
    ]


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_page_lists_every_setting_as_the_code_has_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    table = page.read_text().partition("| variable |")[2].partition("\n\n")[0]
    assert "| variable |" + table == settings_page().rstrip()


VARIABLES = [variable_name(name) for name in Settings.model_fields]


@pytest.mark.parametrize("blank", ["", " ", "\t \n"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_is_empty_or_blank_is_unset(
    monkeypatch: pytest.MonkeyPatch, variable: str, blank: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    usual = load_settings()
    monkeypatch.setenv(variable, blank)
    assert load_settings() == usual


@pytest.mark.parametrize("around", [" {} ", '"{}"', "'{}'", ' " {} "\n'])
@pytest.mark.parametrize("field", Settings.model_fields)
def test_spaces_and_quotation_marks_around_a_value_are_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, around: str, field: str
) -> None:
    value = GIVEN.get(field, str(getattr(load_settings(), field)))
    monkeypatch.setenv(variable_name(field), value)
    plain = load_settings()
    monkeypatch.setenv(variable_name(field), around.format(value))
    assert load_settings() == plain


GIVEN = {
    "ollama_api_key": "sk-123",
    "ollama_hosts": "gpu-1,gpu-2;slots=4",
    "ollama_slots": "4",
    "machine": "gpu-box-1",
    "api_keys": "ci=a-key-of-at-least-32-characters-x",
    "allowed_hosts": "mill.example.com",
    "cors_origins": "https://app.example.com",
    "root_path": "/mill",
}
"""Values of settings that are unset at first, or empty."""


@pytest.mark.parametrize("text", ['["gpu-1", "gpu-2"]', '"gpu-1","gpu-2"'])
def test_quotation_marks_of_several_words_stay(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PROMPTMILL_PULL_REGISTRIES", text)
    assert load_settings().pull_registries == text


def test_an_option_that_is_empty_leaves_its_variable_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu")
    assert load_settings(ollama_host="").ollama_host == "http://gpu:11434"


@pytest.mark.parametrize("level", ["debug", "INFO", "Warning", " ERROR "])
def test_log_levels_are_taken_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("PROMPTMILL_LOG_LEVEL", level)
    assert load_settings().log_level == level.strip().lower()


@pytest.mark.parametrize(
    "address", ["http//127.0.0.1", "http:/gpu", "https//gpu:1", "HTTP//gpu", "htp//gpu"]
)
@pytest.mark.parametrize("variable", ["OLLAMA_HOST", "PROMPTMILL_OLLAMA_HOSTS"])
def test_a_misspelt_address_is_refused_and_not_taken_for_a_host_of_that_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(SettingsError, match="misspelt"):
        load_settings()


def test_a_tilde_in_a_sqlite_url_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "sqlite:///~/p.db")
    settings = load_settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/p.db"
    assert settings.sqlite_path == tmp_path / "p.db"


def test_the_home_folder_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///~nobody-of-that-name/p.db")
    with pytest.raises(SettingsError, match="DATABASE_URL: names a home folder"):
        load_settings()


def test_ollamas_own_variable_gives_the_key_of_the_one_host_and_of_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-123")
    (host,) = load_settings().hosts
    assert host.credentials == bearer("sk-123")
    assert "sk-123" not in repr(load_settings())
    monkeypatch.setenv("PROMPTMILL_OLLAMA_HOSTS", "gpu-1,gpu-2;basic_auth=me:pw")
    assert [one.credentials for one in load_settings().hosts] == [None, basic("me:pw")]


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "Bearer sk-123")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("OLLAMA_API_KEY: must be a text of visible ASCII")
    assert "sk-123" not in str(caught.value)


def test_a_machine_is_what_the_setting_says_else_its_id_else_its_host_name(
    tmp_path: Path,
) -> None:
    told, other, empty = tmp_path / "told", tmp_path / "other", tmp_path / "empty"
    told.write_text("0123456789abcdef0123456789abcdef\n")
    other.write_text("0123456789abcdef0123456789abcdee\n")
    empty.write_text("uninitialized\n")
    assert load_settings(machine="gpu-box").machine_identity == "gpu-box"
    assert load_settings().machine_identity == identity_of_machine()
    identity = identity_of_machine(told)
    assert identity == identity_of_machine(told) != identity_of_machine(other)
    assert identity not in told.read_text(), "machine-id(5) asks not to show the id"
    for without in (empty, tmp_path / "none"):
        assert identity_of_machine(without) == socket.gethostname()[:64]
