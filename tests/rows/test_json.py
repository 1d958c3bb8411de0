"""JSON in every form in which people have prompts."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.prompts import PromptFile
from promptmill.rows import FileFormat
from tests.rows.conftest import ReadFile, Refused

A, B = {"id": "a", "prompt": "Name a lake."}, {"id": "b", "prompt": "Name a\nriver, [1] {x}."}
TEXTS = ["Name a lake.", 'Name a "river", [1].']


def lines(*values: object, **options: object) -> str:
    return "".join(json.dumps(value, **options) + "\n" for value in values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.ndjson", "p.txt", "p", "p.csv"])
@pytest.mark.parametrize(
    "content",
    [
        lines(A, B),
        lines(A, B, indent=2),
        json.dumps([A, B]),
        json.dumps([A, B], indent=1),
        json.dumps({"model": "tiny", "prompts": [A, B]}),
        json.dumps({"prompts": [A, B], "model": "tiny"}, indent=4),
        "\ufeff" + lines(A, B),
        "\n\n" + lines(A, B).replace("\n", "\r\n\r\n"),
        lines(A) + "\ufeff" + lines(B),
    ],
)
def test_objects_are_found_in_every_form_and_under_every_name(
    read: ReadFile, name: str, content: str
) -> None:
    assert read(content, name).prompts == [A, B]


@pytest.mark.parametrize("content", [json.dumps(TEXTS), json.dumps(TEXTS, indent=2)])
@pytest.mark.parametrize("name", ["p.json", "p.txt", "p.jsonl"])
def test_texts_are_found_in_an_array(read: ReadFile, name: str, content: str) -> None:
    assert read(content, name).prompts == TEXTS


@given(
    prompts=st.lists(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
        | st.fixed_dictionaries({"prompt": st.text(alphabet='ab\\"{}[],:\n ', min_size=1)}),
        min_size=1,
    ),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_an_array_gives_back_what_was_written_into_it(
    read: ReadFile, prompts: list[object], indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(prompts, indent=indent, ensure_ascii=ascii_only)

    assert read(content, "p.json").prompts == prompts


def test_what_a_batch_says_beside_its_prompts_is_kept(read: ReadFile) -> None:
    content = json.dumps({"options": {"seed": 1}, "prompts": [A], "model": "tiny"})

    assert read(content, "p.json").source.batch_fields == {"options": {"seed": 1}, "model": "tiny"}


def test_an_array_of_any_length_is_read_in_constant_memory(read: ReadFile, tmp_path) -> None:
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[")
        file.writelines(
            f'{{"id": "{number}", "prompt": "{"x" * 500}"}},\n' for number in range(20_000)
        )
        file.write('"last"]')
    tracemalloc.start()
    count = sum(1 for _ in PromptFile(str(path)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 20_001
    assert path.stat().st_size > 10_000_000
    assert most < 5_000_000


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"prompt": "a", "options": {"temperature": NaN}}', "line 1: NaN is not JSON"),
        ('{"prompt": "a", "options": {"x": -Infinity}}', "line 1: -Infinity is not JSON"),
        ('{"prompt": "a", "options": {"x": 1e999}}', "line 1: 1e999 is beyond the range of numbers"),
        ('{"prompt": "a", "options": {"x": %s}}' % ("9" * 5000), "line 1: a number has too many"),
        ('{"prompt": "a", "prompt": "b"}', 'line 1: has the name "prompt" twice in one object'),
        ('{"prompt": "a", "options": {"a": 1, "a": 1}}', 'line 1: has the name "a" twice'),
        ('{"prompt": "\\ud83d"}', "line 1: has half of a surrogate pair"),
        ('{"prompt": ["\\udc00"]}', "line 1: has half of a surrogate pair"),
        ('{"prompt": ' + "[" * 100_000, "nested too deeply"),
        ("7", "line 1: must be a JSON string or an object"),
        ("null", "line 1: must be a JSON string or an object"),
        ('{"prompt": "a"', "line 1: is not JSON"),
        ('{"question": "Why?", "n": 1}', "it has question, n; --field NAME takes the prompt"),
        ('{"question": {"text": "Why?"}}', "none of them is a text"),
        ('{"role": "user", "content": "Why?"}', "it is a message of a chat: write {"),
        ('[{"role": "user", "content": "Why?"}]', 'write {"messages"'),
        ('{"conversations": [{"from": "human", "value": "Why?"}]}', "ShareGPT's chats"),
        ('{"custom_id": "a", "params": {"max_tokens": 9}}', "Anthropic's batch lines"),
        ('{"custom_id": "a", "response": {}, "error": null}', "these are results of OpenAI's"),
        ('{"lc": 1, "id": ["a"], "kwargs": {"content": "a"}}', "LangChain's dumps"),
        ("{'prompt': 'Why?'}", "JSON has double quotation marks"),
        ('{"prompt": "Why?", "raw": True}', "a word of Python, not of JSON, stands"),
        ('{"prompt": "Why?",}', "line 1: is not JSON"),
        ('{"prompt": "Why?" /* ! */}', "is not JSON"),
        ('{"prompt": "a\tb"}', r"a tab or line end, in a string written \t or \n, stands"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["line", "array", "batch"])
def test_what_json_cannot_say_is_refused_with_its_place(
    refused: Refused, line: str, fault: str, form: str
) -> None:
    content = {"line": f"{line}\n", "array": f"[{line}]", "batch": f'{{"prompts": [{line}]}}'}[form]
    if form == "batch":
        fault = fault.replace("line 1: must", "prompt 1: must")

    assert fault in refused(content, "p.jsonl")


def test_every_wrong_line_is_named_up_to_a_bound(refused: Refused) -> None:
    content = b'"fine"\n{"question": "Why?"}\nnot json\n7\n"\xff"\n'

    assert refused(content, "p.jsonl").splitlines() == [
        'line 2: has neither "prompt" nor "messages"; it has question; --field NAME takes the prompt from another field',
        "line 3: is not JSON: Expecting value at column 1",
        "line 4: must be a JSON string or an object",
        "line 5: is not UTF-8 at byte 2; --encoding NAME reads another one, such as cp1252 or utf-16",
    ]
    assert len(refused("x\n" * 1000, "p.jsonl").splitlines()) == 20


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('["a", "b"', "line 1: the array does not end"),
        ('["a"\n "b"]', "line 2: a comma is missing in the array"),
        ('["a"]\n["b"]', "line 2: something follows the array"),
        ('["a", 7]', "line 1: must be a JSON string or an object"),
        ('[\n"a",\nbad]', "line 3: is not JSON"),
        ('["a",\n "b",\n]', "line 3: is not JSON: a value is missing, as behind a comma too many,"),
        ('["a", "b", ]', "line 1: is not JSON: a value is missing, as behind a comma too many,"),
        ('[\n // lakes\n "a"]', "line 2: is not JSON: JSON has no comments, and there is one"),
        ('["a", None]', "line 1: is not JSON: a word of Python, not of JSON, stands"),
        ('{"prompts": ["a"]} {"prompts": []}', "something follows the batch"),
        ('{"prompts": "a"}', '"prompts" must be a list'),
        ('{"prompts": ["a"], "idempotency_key": "x"}', 'no field "idempotency_key"'),
        ("[]", "it has no prompts"),
    ],
)  # fmt: skip
def test_an_array_or_batch_that_is_broken_is_refused(
    refused: Refused, content: str, fault: str
) -> None:
    assert fault in refused(content, "p.json")


def test_json_with_comments_is_not_sent_line_by_line(refused: Refused) -> None:
    assert "JSON has no comments" in refused('// texts\n["a", "b"]\n', "p.jsonc")


@pytest.mark.parametrize(
    "content",
    [
        "[INST] Name a lake. [/INST]\nName a sea.",
        '"To be or not to be": who wrote it?',
        "{name} is a lake, or a sea?",
        "{{ braces }} are what?",
        '["a", "b"] is a list. Of what?',
        "[1] Name a lake.\n[2] Name a sea.",
        '{"a": 1} is an object. Of what?',
    ],
)
def test_texts_that_only_begin_like_json_are_texts(read: ReadFile, content: str) -> None:
    assert read(content).prompts == content.split("\n")


@pytest.mark.parametrize(
    "content",
    [
        lines({"name": "Ann", "age": 3}, {"name": "Bob", "age": 4}),
        lines(*TEXTS),
        '["a", "b"]\n["c", "d"]\n',
        "[1, 2, 3]",
        'First a text.\n{"prompt": "and then an object"}\n',
        '{"prompt": "broken}\n',
        '["broken", \n',
    ],
)
def test_what_may_be_json_or_texts_is_refused_with_the_two_ways_to_say_it(
    read: ReadFile, refused: Refused, content: str
) -> None:
    told = refused(content)

    assert "--format jsonl" in told
    assert "--format text" in told
    sent = [line for line in content.split("\n") if line.strip()]
    assert read(content, format=FileFormat.TEXT).prompts == sent


def test_other_fields_count_beside_a_named_field(read: ReadFile) -> None:
    content = lines(
        {"id": 7, "question": "Why?", "system": "Be brief.", "answer": "So.", "model": None},
        {"id": "b", "question": "How?", "options": {"seed": 1}, "think": False},
    )

    assert read(content, "p.jsonl", prompt="question").prompts == [
        {"id": "7", "system": "Be brief.", "prompt": "Why?"},
        {"id": "b", "options": {"seed": 1}, "think": False, "prompt": "How?"},
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"a": 1}', 'line 1: the field "q" is not there; it has a'),
        ("{}", 'line 1: the field "q" is not there; it has no fields at all'),
        ('{"q": 1}', 'line 1: the field "q" is not a string'),
        ('{"q": "x", "options": ["A", "B"]}', 'line 1: "options" is not what a prompt\'s options'),
    ],
)
def test_a_field_that_cannot_be_taken_is_explained(refused: Refused, line: str, fault: str) -> None:
    assert fault in refused(line, "p.jsonl", prompt="q")


def test_objects_whose_text_is_null_or_blank_are_said_and_counted(read: ReadFile) -> None:
    found = read(lines({"q": "a"}, {"q": None}, {"q": " "}), "p.jsonl", prompt="q")

    assert (found.prompts, found.source.notes.left_out) == (["a"], 2)


def test_a_numeric_id_is_a_text(read: ReadFile) -> None:
    assert read('{"id": 5, "prompt": "a"}', "p.jsonl").prompts == [{"id": "5", "prompt": "a"}]


def openai(body: object, **others: object) -> str:
    line = {"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps({**line, **others})


SAID = [{"role": "user", "content": "Name a lake."}]


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        (
            {"model": "tiny", "messages": SAID, "max_tokens": 50, "temperature": 0, "stop": ["x"]},
            {"model": "tiny", "messages": SAID, "options": {"num_predict": 50, "temperature": 0, "stop": ["x"]}},
        ),
        (
            {"messages": SAID, "max_completion_tokens": 5, "response_format": {"type": "json_object"}, "user": "u"},
            {"messages": SAID, "format": "json", "options": {"num_predict": 5}},
        ),
        (
            {"messages": SAID, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, "n": 1},
            {"messages": SAID, "format": {"type": "object"}},
        ),
        (
            {"messages": [{"role": "developer", "content": "Be brief."}, *SAID], "reasoning_effort": "high"},
            {"messages": [{"role": "system", "content": "Be brief."}, *SAID], "think": "high"},
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]},
            {"messages": [{"role": "user", "content": "What?", "images": ["AAAA"]}]},
        ),
        (
            {"messages": [*SAID, {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]}]},
            {"messages": [*SAID, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}]},
        ),
    ],
)  # fmt: skip
def test_a_line_of_openais_batches_becomes_a_prompt(
    read: ReadFile, body: object, prompt: dict[str, object]
) -> None:
    assert read(openai(body), "p.jsonl").prompts == [{"id": "r1", **prompt}]


def test_a_line_without_an_id_is_a_prompt_without_one(read: ReadFile) -> None:
    line = {"url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "a"}]}}

    assert read(lines(line, {**line, "custom_id": None}), "p.jsonl").prompts == 2 * [
        {"messages": line["body"]["messages"]}
    ]


def test_a_line_of_completions_has_a_plain_prompt(read: ReadFile) -> None:
    line = openai({"prompt": "Name a lake."}, url="/v1/completions")

    assert read(line, "p.txt").prompts == [{"id": "r1", "prompt": "Name a lake."}]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (openai({"input": "a"}, url="/v1/embeddings"), "asks for /v1/embeddings; only"),
        (openai({"messages": SAID, "n": 2}), '"n", which Ollama does not support'),
        (openai({"messages": SAID, "audio": {}}), '"audio", which Ollama does not support'),
        (openai({"model": "x"}), '"body" has no "messages"'),
        (openai("x"), '"body" must be an object'),
        (openai({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}), "an image must be embedded"),
        (openai({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}), "a part of a message"),
    ],
)  # fmt: skip
def test_what_ollama_cannot_do_is_refused_by_its_name(
    refused: Refused, line: str, fault: str
) -> None:
    assert f"line 1: {fault}" in refused(line, "p.jsonl") or fault in refused(line, "p.jsonl")
