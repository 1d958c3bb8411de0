"""What people really have in their files, and what comes of it: a row of the table for each case.

The inputs are in tests/cases. Each is an example of a kind; the kinds are tested in tests/rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from tests.cli.pretended import Invoke, batch

CASES = Path(__file__).parent.parent / "cases"
HILL, BAY = "Name a hill.", "Name a bay."
PAIR = [{"id": "one", "prompt": HILL}, {"id": "two", "prompt": BAY}]


@pytest.fixture
def accepting(service: respx.MockRouter) -> respx.Route:
    return service.post("/batches").mock(return_value=httpx.Response(202, json=batch()))


def body_of(route: respx.Route) -> dict[str, Any]:
    return json.loads(route.calls.last.request.content)


def openai(number: int, text: str) -> dict[str, Any]:
    return {
        "id": f"ask-{number}",
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "options": {"num_predict": 20, "temperature": 0},
    }


@pytest.mark.parametrize(
    ("arguments", "prompts"),
    [
        (["-f", "semicolon.csv"], [{"id": "7", "prompt": "Which animals live in Chile, and which in Peru?"}, {"id": "8", "prompt": HILL}]),
        (["-f", "empty_cell.csv"], [{"id": "x", "prompt": HILL}, {"id": "z", "prompt": BAY}]),
        (["-f", "with_ids.csv"], [{"id": "ask-1", "prompt": HILL}, {"id": "ask-2", "prompt": BAY}]),
        (["-f", "field_and_id.jsonl", "--field", "text"], [{"id": "one", "system": "Answer in Latin.", "prompt": HILL}, {"id": "two", "system": "Answer in Latin.", "prompt": BAY}]),
        (["-f", "texts.json"], [HILL, BAY]),
        (["-f", "objects.json"], PAIR),
        (["-f", "lines.json"], PAIR),
        (["-f", "piped.txt"], PAIR),
        (["-f", "openai.jsonl"], [openai(1, HILL), openai(2, BAY)]),
        (["-f", "two_bytes.txt"], [HILL, BAY]),
        (["-f", "one_byte.csv", "--encoding", "latin-1"], ["Quel été ?"]),
        (["-f", "blank_first_line.csv"], [HILL]),
        (["-f", "header_written_otherwise.csv"], [{"id": "9", "prompt": HILL}]),
        (["-f", "mark_and_crlf.csv"], ["Name a hill\nin two lines.", BAY]),
        (["-f", "characters.txt"], ["Wave 🧑🏽‍🚀 at 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "שאלה ، سؤال", "no\u200bspace, a\u2028separator", "a\x0cfeed"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_a_file_is_sent_as_it_was_meant(
    invoke: Invoke, accepting: respx.Route, arguments: list[str], prompts: list[Any], streamed: bool
) -> None:
    arguments = [str(CASES / one) if one.endswith(tuple(EXTENSIONS)) else one for one in arguments]

    result = invoke("submit", *arguments, *(["--stream"] if streamed else []))

    assert (result.exit_code, result.stdout) == (0, "batch_1\n")
    if streamed:
        sent = accepting.calls.last.request.content.split(b"\n")
        assert [json.loads(line) for line in sent if line] == prompts
    else:
        assert body_of(accepting) == {"prompts": prompts}


EXTENSIONS = (".csv", ".json", ".jsonl", ".txt")


@pytest.mark.parametrize("name", ["piped.txt", "objects.json", "lines.json", "openai.jsonl"])
def test_the_same_comes_through_a_pipe(invoke: Invoke, accepting: respx.Route, name: str) -> None:
    assert invoke("submit", stdin=(CASES / name).read_bytes()).exit_code == 0

    expected = PAIR if name != "openai.jsonl" else [openai(1, HILL), openai(2, BAY)]
    assert body_of(accepting)["prompts"] == expected


@pytest.mark.parametrize("streamed", [False, True])
def test_a_whole_batch_brings_its_fields_and_options_go_before_them(
    invoke: Invoke, accepting: respx.Route, streamed: bool
) -> None:
    arguments = ["-f", str(CASES / "batch.json"), "--option", "seed=9", "--priority", "5"]

    assert invoke("submit", *arguments, *(["--stream"] if streamed else [])).exit_code == 0

    if streamed:
        query = dict(accepting.calls.last.request.url.params)
        assert query == {"model": "other", "options": '{"seed":9,"top_k":4}', "priority": "5"}
    else:
        assert body_of(accepting) == {
            "prompts": [HILL, {"id": "two", "prompt": BAY}],
            "model": "other",
            "options": {"seed": 9, "top_k": 4},
            "priority": 5,
        }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "unquoted_comma.csv"], "line 2: has 3 cells and the header 1; put quotation marks around a text with `,`".replace("3", "2")),
        (["-f", "name_twice.jsonl"], 'line 1: has the name "prompt" twice in one object'),
        (["-f", "not_a_number.jsonl"], "line 1: NaN is not JSON"),
        (["-f", "one_byte.csv"], "line 2: is not UTF-8 at byte 6; --encoding NAME"),
        (["with_ids.csv"], "reads the prompts in it"),
        (["-f", "field_and_id.jsonl"], "--field NAME takes the prompt from another field"),
        (["a", "--option", "temperature=NaN"], "--option temperature: NaN is not JSON"),
        (["a", "--option", "temperature=1e999"], "--option temperature: 1e999 is beyond the range"),
        (["a", "--option", 'stop={"a": 1, "a": 2}'], '--option stop: has the name "a" twice'),
        (["a", "--rate-limit-delay", "nan"], "nan is not a number"),
        (["a", "--timeout-s", "inf"], "inf is not a number"),
        (["a", "--idempotency-key", "ü"], "--idempotency-key must have ASCII characters only"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_and_nothing_is_submitted(
    invoke: Invoke, accepting: respx.Route, arguments: list[str], said: str
) -> None:
    arguments = [str(CASES / one) if one.endswith(EXTENSIONS) else one for one in arguments]

    result = invoke("submit", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", "").split())
    assert not accepting.called


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "batch_1", "--rate-limit-delay", "inf"],
        ["bench", "tiny", "--option", "temperature=NaN"],
        ["bench", "tiny", "--slo-ttft", "nan"],
        ["bench", "tiny", "--keep-alive", "NaN"],
        ["retry", "batch_1", "--expires-in-s", "-inf"],
        ["watch", "batch_1", "--reconnect-s", "nan"],
        ["submit", "half \udcff"],
        ["show", "half \udcff"],
        ["list", "--model", "\ud83d"],
        ["submit", "--file", "\udcff"],
    ],
)
def test_other_commands_refuse_it_too(
    invoke: Invoke, service: respx.MockRouter, arguments: list[str]
) -> None:
    assert invoke(*arguments).exit_code == 2


def test_rows_that_are_left_out_are_said_and_counted(
    invoke: Invoke, accepting: respx.Route
) -> None:
    result = invoke("submit", "-f", CASES / "empty_cell.csv")

    assert "line 3 has no prompt and is left out" in result.stderr
    assert "1 row is left out in all" in result.stderr


def test_blank_lines_of_a_text_are_counted(invoke: Invoke, accepting: respx.Route) -> None:
    result = invoke("submit", stdin="one\n\n\ntwo\n\n")

    assert "2 blank lines are left out, between the prompts" in result.stderr


def test_a_name_of_a_file_that_is_not_there_is_sent_with_a_hint(
    invoke: Invoke, accepting: respx.Route
) -> None:
    result = invoke("submit", "no_such.csv")

    assert result.exit_code == 0
    assert "no_such.csv is sent as a prompt: there is no file of that name" in result.stderr


def test_a_preview_prints_what_would_be_sent_and_submits_nothing(
    invoke: Invoke, accepting: respx.Route
) -> None:
    arguments = ["--template", "Say: {{ prompt }}", "--preview", 1]

    result = invoke("submit", "-f", CASES / "with_ids.csv", *arguments)

    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"prompt": f"Say: {HILL}", "id": "ask-1"}
    ]
    assert not accepting.called


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks5h://127.0.0.1:9", "SOCKS"),
        ("ALL_PROXY", "socks://127.0.0.1:9", "socks"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:9", "socks4"),
        ("HTTP_PROXY", "ftp://127.0.0.1", "ftp"),
        ("HTTP_PROXY", "a" * 64, "label"),
        ("ALL_PROXY", "http://a..b:3128", "label"),
        ("HTTP_PROXY", "http://127.0.0.1:port", "port"),
        ("HTTP_PROXY", "'http://127.0.0.1:9'", "Unknown scheme"),
        ("NO_PROXY", "[::1]", "port"),
        ("NO_PROXY", "é", "IDNA"),
        ("SSL_CERT_FILE", "/no/such/file", "No such file"),
    ],
)
def test_an_environment_that_cannot_be_used_is_told_in_words(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)

    result = invoke("list", "--url", "http://promptmill.test:8000")

    assert result.exit_code == 3
    told = " ".join(result.stderr.split())
    assert said in told
    for name in ("ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        assert name in told


def test_a_proxy_is_no_way_to_this_machine(
    invoke: Invoke, service: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    service.get("/batches").respond(200, json={"data": [], "next_cursor": None})

    assert invoke("list").exit_code == 0


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_not_there_is_named_and_its_password_is_not(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, unused_port: int, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://me:secret@127.0.0.1:{unused_port}")

    result = invoke("list", "--url", "http://promptmill.test:8000")

    told = " ".join(result.stderr.split())
    assert result.exit_code == 3
    assert f"the proxy that {variable.upper()} names" in told
    assert "secret" not in told
    monkeypatch.setenv("NO_PROXY", "promptmill.test")
    assert "proxy" not in invoke("list", "--url", "http://promptmill.test:8000").stderr
