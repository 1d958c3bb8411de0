"""The door's JSON is JSON as the standard library reads it, however it falls into windows."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.api.errors.unstorable import MalformedJson
from promptmill.api.errors.violations import Faults
from promptmill.api.intake import json_text
from promptmill.api.intake.json_text import JsonReader
from promptmill.domain.errors import Invalid

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars.filter(lambda value: not (isinstance(value, float) and math.isinf(value))),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=30,
)
windows = st.integers(min_value=1, max_value=40)


def read(text: bytes, window: int, faults: Faults | None = None) -> object:
    """Read one value through windows of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_WINDOW", window)
        reader = JsonReader(Faults() if faults is None else faults)
        reader.open(text)
        return reader.only_value(())


def walk(text: bytes, window: int) -> object:
    """Read the value member by member and item by item."""

    def one(reader: JsonReader) -> object:
        first = reader.peek()
        if first == "[":
            return [one(reader) for _ in reader.items()]
        if first == "{":
            return {name: one(reader) for name in reader.members()}
        return reader.value(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_WINDOW", window)
        reader = JsonReader(Faults())
        reader.open(text)
        value = one(reader)
        reader.end()
        return value


@given(documents, windows, st.booleans(), st.sampled_from([None, 1, "\t\n"]))
def test_any_document_reads_as_json_loads_reads_it(document, window, ascii_only, indent) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = text.encode("utf-8", "replace")

    assert read(body, window) == json.loads(body)
    assert walk(body, window) == json.loads(body)


@given(documents, windows, st.data())
def test_a_document_that_was_tampered_with_is_refused_when_json_loads_refuses_it(
    document, window, data
) -> None:
    text = json.dumps(document)
    place = data.draw(st.integers(0, len(text)))
    tampered = text[:place] + data.draw(st.sampled_from('",:[]{}\\1e-.tx ')) + text[place + 1 :]
    how = data.draw(st.sampled_from([read, walk]))
    try:
        expected = json.loads(tampered, parse_constant=_refuse)
    except ValueError:
        expected = MalformedJson
    try:
        got = how(tampered.encode(), window)
    except MalformedJson:
        got = MalformedJson

    assert got == expected


@given(st.binary(max_size=60), windows)
def test_arbitrary_bytes_are_read_or_refused_but_never_crash(noise, window) -> None:
    reason = "."
    try:
        read(noise, window)
    except MalformedJson as error:
        reason = str(error)

    assert reason.endswith(".")


@pytest.mark.parametrize("window", [1, 5, 1000])
def test_a_refusal_names_the_line_and_column_also_beyond_the_first_window(window) -> None:
    text = '\ufeff{\n  "é": [\n    "ü", "😀",\n    oops\n  ]\n}'.encode()

    with pytest.raises(MalformedJson) as caught:
        walk(text, window)

    assert str(caught.value) == "Expecting value at line 4 column 5."


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", '{"a": [NaN]}'])
def test_constants_that_are_no_json_are_refused_in_words(constant) -> None:
    with pytest.raises(MalformedJson, match="is no JSON number"):
        read(constant.encode(), 1000)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xed\xa0\x80"', b'"\xe2\x82'])
@pytest.mark.parametrize("window", [1, 1000])
def test_bytes_that_are_no_utf8_are_refused_with_their_place(text, window) -> None:
    with pytest.raises(MalformedJson, match="not UTF-8 at byte 2"):
        read(text, window)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_endless_nesting_is_refused(bracket) -> None:
    with pytest.raises(MalformedJson, match="nested deeper"):
        read((bracket * 100_000).encode(), 64)


@pytest.mark.parametrize("window", [3, 1000])
def test_names_given_twice_are_noted_once_each_with_the_place_of_the_value(window) -> None:
    faults = Faults()

    assert read(b'[{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}]', window, faults)

    with pytest.raises(Invalid) as caught:
        faults.raise_if_any()
    assert [problem.detail for problem in caught.value.problems] == [
        "has the name `c` twice in one object; give it once",
        "has the name `a` twice in one object; give it once",
    ]


@pytest.mark.parametrize("item", ['""', "[]", "0", "{}", '"\\""', "[[[[]]]]"])
def test_a_value_that_no_field_takes_is_refused_before_it_is_decoded(item) -> None:
    text = f"[{','.join([item] * 1_000_000)}]".encode()

    with pytest.raises(Invalid) as caught:
        read(text, json_text._WINDOW)

    assert "far larger" in caught.value.problems[0].detail


def test_long_texts_full_of_commas_and_brackets_are_one_value_each() -> None:
    text = json.dumps({"prompt": '[1,2],{\\"' * 300_000, "images": ["a" * 5_000_000]}).encode()

    assert read(text, json_text._WINDOW) == json.loads(text)


def _refuse(name: str) -> None:
    raise ValueError(name)
