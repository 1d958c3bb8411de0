"""Whatever is given to the command line, it ends with a status and a sentence, never a traceback."""

from __future__ import annotations

import string
from pathlib import Path

import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.pretended import Invoke, batch

# What JSON and UTF-8 cannot carry, among what they can.
ODD = st.text(
    alphabet=st.sampled_from(
        [*"aé\n\r\t\0\x1b\x85\u2028\ufeff\ufffe\U0001f44d", "\ud83d", "\udcff", *'{}[]",;|:=@#*?%-']
    ),
    max_size=12,
)
WORDS = st.sampled_from(
    ["NaN", "-Infinity", "1e999", "9" * 5000, "[" * 5000, '{"a":1,"a":2}', "null", "-", "@", "#"]
)
ODD_BYTES = st.one_of(
    st.binary(max_size=60),
    ODD.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet=string.printable, max_size=60).map(lambda text: text.encode("utf-16")),
    st.sampled_from(
        [
            b"\x1f\x8b\x08broken",
            b"PK\x03\x04broken",
            b"PAR1broken",
            b'{"prompt": NaN}',
            b'{"prompts": [1e999]}',
            b'[["a"], {"prompt": "\\ud83d"}]',
            b"\xff\xfe\x00\xd8\n\x00",
            b"\xff\xfe\x00\x00a",
            b"sep=;\n\nprompt;a\n1;2;3",
            b'id,prompt\n"1,2\n',
            b"prompt\x00\n",
        ]
    ),
    st.lists(
        st.sampled_from([b"id", b"prompt", b'"', b",", b";", b"\t", b"\n", b"\r", b"{", b"}", b"[", b"]", b":", b'"prompt"', b"NaN", b"\xef\xbb\xbf", b"text"])
    ).map(b"".join),
)  # fmt: skip
OPTIONS = st.sampled_from(
    [
        *("--model", "--system", "--option", "--metadata", "--max-concurrent", "--max-failures"),
        *("--rate-limit-delay", "--timeout-s", "--priority", "--expires-in-s", "--fail-on"),
        *("--idempotency-key", "--encoding", "--delimiter", "--column", "--field", "--template"),
        *("--id-column", "--system-column", "--image-column", "--keep", "--limit", "--shuffle"),
        *("--format", "--preview", "--file", "--url"),
    ]
)
COMMANDS = st.sampled_from(
    [
        *(["show"], ["results"], ["cancel"], ["retry", "--expires-in-s"], ["list", "--model"]),
        *(["set", "batch_1", "--rate-limit-delay"], ["set", "batch_1", "--metadata"]),
        *(
            ["bench", "tiny", "--option"],
            ["bench", "tiny", "--prompt"],
            ["bench", "--prompts-file"],
        ),
        *(["results", "batch_1", "-o"], ["submit", "--option", "a=b", "--"]),
    ]
)
many = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def anything_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    with respx.mock(assert_all_called=False) as router:
        router.route(path__startswith="/batches").mock(
            return_value=httpx.Response(202, json=batch())
        )
        router.route().mock(return_value=httpx.Response(404, json={"title": "Not found"}))
        yield router


def ends(invoke: Invoke, *arguments: str, stdin: bytes | None = None) -> None:
    # The fixture raises whatever a person would have seen as a traceback.
    result = invoke(*arguments, stdin=stdin)

    assert result.exit_code in {0, 2, 3}
    assert result.exit_code == 0 or result.stderr


@many
@given(option=OPTIONS, value=ODD | WORDS, pair=st.booleans())
def test_every_option_takes_or_refuses_every_value(
    invoke: Invoke, anything_goes: object, option: str, value: str, pair: bool
) -> None:
    ends(invoke, "submit", option, f"a={value}" if pair else value, stdin=b"id,text\n1,a\n")


@many
@given(
    content=ODD_BYTES, extension=st.sampled_from([".txt", ".csv", ".json", ".jsonl", ".xlsx", ""])
)
def test_every_file_is_read_or_refused(
    invoke: Invoke, anything_goes: object, content: bytes, extension: str
) -> None:
    Path(f"odd{extension}").write_bytes(content)

    ends(invoke, "submit", "--file", f"odd{extension}")


@many
@given(content=ODD_BYTES, template=st.booleans())
def test_every_pipe_is_read_or_refused(
    invoke: Invoke, anything_goes: object, content: bytes, template: bool
) -> None:
    options = ["--template", "{{ text }}", "--keep", "*"] if template else []

    ends(invoke, "submit", "--stream", *options, stdin=content)


@many
@given(command=COMMANDS, value=ODD | WORDS)
def test_every_command_takes_or_refuses_every_argument(
    invoke: Invoke, anything_goes: object, command: list[str], value: str
) -> None:
    ends(invoke, *command, value)
