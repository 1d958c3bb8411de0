"""Prompts out of files."""

from __future__ import annotations

import json

import pytest

from promptmill.cli.input.prompt_input import (
    InputFormat,
    ReadPrompt,
    UnreadableInput,
    format_of,
    read_prompts,
)

TEXT, JSONL, CSV = InputFormat.TEXT, InputFormat.JSONL, InputFormat.CSV


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prompts.jsonl", JSONL),
        ("PROMPTS.NDJSON", JSONL),
        ("a/b.csv", CSV),
        ("prompts.txt", TEXT),
        ("prompts", TEXT),
        ("-", TEXT),
    ],
)
def test_the_extension_says_the_format(name: str, expected: InputFormat) -> None:
    assert format_of(name) is expected


def test_naming_a_field_or_a_column_says_the_format_of_a_pipe() -> None:
    assert format_of("-", field="question") is JSONL
    assert format_of("-", column="text") is CSV


def test_each_line_of_a_text_is_a_prompt_and_empty_ones_are_none() -> None:
    content = "\ufeffWhy?\r\n\n  \nOù ?\n  indented stays".encode()

    assert read_prompts(content, TEXT) == [
        ReadPrompt("Why?", "line 1"),
        ReadPrompt("Où ?", "line 4"),
        ReadPrompt("  indented stays", "line 5"),
    ]


def test_only_a_line_end_ends_a_line() -> None:
    assert read_prompts("a\u2028b\x0cc".encode(), TEXT) == [ReadPrompt("a\u2028b\x0cc", "line 1")]


def test_a_line_of_jsonl_is_a_string_or_a_prompt_object() -> None:
    lines = ['"Why?"', '{"prompt": "a", "id": "x"}', '{"messages": [{"role": "user"}]}']

    read = read_prompts("\n".join(lines).encode(), JSONL)

    assert [one.prompt for one in read] == [json.loads(line) for line in lines]


def test_the_prompt_can_be_taken_from_another_field() -> None:
    read = read_prompts(b'{"question": "Why?", "answer": "So."}', JSONL, field="question")

    assert read == [ReadPrompt("Why?", "line 1")]


def test_every_wrong_line_of_jsonl_is_named() -> None:
    content = b'"fine"\n{"question": "Why?", "n": 1}\nnot json\n7\n"\xff"\n"\\ud83d"\n'

    with pytest.raises(UnreadableInput) as caught:
        read_prompts(content, JSONL)

    assert caught.value.faults == [
        'line 2: has neither "prompt" nor "messages"; it has question, n; --field NAME takes the prompt from another field',
        "line 3: is not JSON: Expecting value at column 1",
        "line 4: must be a JSON string or an object",
        "line 5: is not UTF-8 at byte 2",
        "line 6: has half of a surrogate pair (\\ud83d alone), which is no text",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"a": 1}', 'the field "q" is not there; it has a'),
        ("{}", 'the field "q" is not there; it has no fields at all'),
        ('{"q": 1}', 'the field "q" is no string'),
    ],
)
def test_a_field_that_cannot_be_taken_is_explained(line: str, fault: str) -> None:
    with pytest.raises(UnreadableInput) as caught:
        read_prompts(line.encode(), JSONL, field="q")

    assert caught.value.faults == [f"line 1: {fault}"]


def test_a_file_of_nothing_but_errors_is_not_recited_whole() -> None:
    with pytest.raises(UnreadableInput) as caught:
        read_prompts(b"x\n" * 1000, JSONL)

    assert len(caught.value.faults) == 20


def test_a_csv_gives_its_prompt_column_with_the_line_where_each_row_begins() -> None:
    content = 'id,prompt\r\n1,"two\nlines, ""quoted"""\r\n2,\r\n3,last\r\n'

    assert read_prompts(content.encode(), CSV) == [
        ReadPrompt('two\nlines, "quoted"', "line 2"),
        ReadPrompt("last", "line 5"),
    ]


def test_the_only_column_of_a_csv_needs_no_name() -> None:
    assert read_prompts(b"question\nWhy?\n", CSV) == [ReadPrompt("Why?", "line 2")]


def test_another_column_of_a_csv_can_be_named() -> None:
    content = b"\xef\xbb\xbfquestion,answer\nWhy?,So.\n"

    assert read_prompts(content, CSV, column="question") == [ReadPrompt("Why?", "line 2")]


def test_a_column_that_is_not_there_is_explained() -> None:
    with pytest.raises(UnreadableInput) as caught:
        read_prompts(b"a,b\n1,2\n", CSV)

    assert caught.value.faults == [
        'there is no column "prompt"; it has a, b; --column NAME takes another'
    ]


def test_a_field_of_a_csv_may_be_as_long_as_a_prompt() -> None:
    long = "x" * 200_000

    assert read_prompts(f"prompt\n{long}\n".encode(), CSV) == [ReadPrompt(long, "line 2")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"prompt\nfine\n\xff\n", "line 3: is not UTF-8"), (b'prompt\n"open', "line 2: ")],
)
def test_a_broken_csv_is_refused_with_its_line(content: bytes, fault: str) -> None:
    with pytest.raises(UnreadableInput) as caught:
        read_prompts(content, CSV)

    assert caught.value.faults[0].startswith(fault)


@pytest.mark.parametrize("input_format", list(InputFormat))
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_input_holds_no_prompt(content: bytes, input_format: InputFormat) -> None:
    with pytest.raises(UnreadableInput, match="there is no prompt in it"):
        read_prompts(content, input_format)
