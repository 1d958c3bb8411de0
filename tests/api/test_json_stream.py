"""The incremental reader is JSON as the standard library reads it, however the text is cut."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.api.intake import json_stream
from promptmill.api.intake.json_stream import MAX_DEPTH, JsonStream, MalformedJson, Step, TooLarge

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars.filter(lambda value: not (isinstance(value, float) and math.isinf(value))),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=30,
)
cuts = st.integers(min_value=1, max_value=40)


def read(text: bytes, cut: int, stream: JsonStream | None = None) -> object:
    """Read one value from blocks of `cut` bytes."""
    stream = stream or JsonStream()

    def whole() -> Step[object]:
        value = yield from stream.value()
        yield from stream.end()
        return value

    reading = whole()
    try:
        next(reading)
        for start in range(0, len(text), cut):
            reading.send(text[start : start + cut])
        reading.send(b"")
    except StopIteration as end:
        return end.value
    raise AssertionError("the reader waits for more after the end")


@given(documents, cuts, st.booleans(), st.sampled_from([None, 1, "\t\n"]))
def test_any_document_reads_as_json_loads_reads_it(document, cut, ascii_only, indent) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)

    assert read(text.encode("utf-8", "surrogatepass"), cut) == json.loads(text)


@given(documents, cuts)
def test_a_document_walked_member_by_member_reads_the_same(document, cut) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_LARGE", 0)

        assert read(json.dumps(document).encode(), cut) == document


@given(documents, st.data())
def test_a_document_that_was_tampered_with_is_refused_when_json_loads_refuses_it(
    document, data
) -> None:
    text = json.dumps(document)
    place = data.draw(st.integers(0, len(text)))
    tampered = text[:place] + data.draw(st.sampled_from('",:[]{}\\1e-.tx ')) + text[place + 1 :]
    large = data.draw(st.sampled_from([0, json_stream._LARGE]))
    try:
        expected = json.loads(tampered, parse_constant=_refuse)
    except ValueError:
        expected = MalformedJson
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_LARGE", large)
        try:
            got = read(tampered.encode(), data.draw(cuts))
        except MalformedJson:
            got = MalformedJson

    assert got == expected


@given(st.binary(max_size=60), cuts)
def test_arbitrary_bytes_are_read_or_refused_but_never_crash(noise, cut) -> None:
    reason = "."
    try:
        read(noise, cut)
    except MalformedJson as error:
        reason = str(error)

    assert reason.endswith(".")


def test_a_refusal_names_the_line_and_column_also_when_the_text_came_in_pieces() -> None:
    text = b'{\n  "prompts": [\n    "a",\n    oops\n  ]\n}'

    for cut in (1, 5, 1000):
        with pytest.raises(MalformedJson) as caught:
            walk_prompts(text, cut)
        assert str(caught.value) == "Expecting value at line 4 column 5."


def walk_prompts(text: bytes, cut: int) -> None:
    stream = JsonStream()

    def walk() -> Step[None]:
        yield from stream.peek()
        stream.enter()
        yield from stream.next_name(first=True)
        yield from stream.peek()
        stream.enter()
        first = True
        while (yield from stream.next_item(first=first)):
            first = False
            yield from stream.value()

    reading = walk()
    next(reading)
    for start in range(0, len(text), cut):
        reading.send(text[start : start + cut])
    reading.send(b"")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", '{"a": [NaN]}'])
def test_constants_that_are_no_json_are_refused_in_words(constant) -> None:
    with pytest.raises(MalformedJson, match="is no JSON number"):
        read(constant.encode(), 1000)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read(b'\xef\xbb\xbf{"a": 1}', 2) == {"a": 1}


def test_bytes_that_are_no_utf8_are_refused() -> None:
    for text in (b'"\xff"', b'"\xed\xa0\x80"', b'"\xe2\x82'):
        with pytest.raises(MalformedJson, match="not UTF-8"):
            read(text, 1)


@pytest.mark.parametrize("large", [0, 1 << 20])
def test_deep_nesting_is_refused_whichever_way_it_is_read(large, monkeypatch) -> None:
    monkeypatch.setattr(json_stream, "_LARGE", large)
    for bracket, depth in (("[", 100_000), ('{"a":', 100_000), ("[", MAX_DEPTH + 1)):
        if large and depth <= MAX_DEPTH + 1:
            continue  # A small value is decoded whole; `text_rules` measures its depth.
        with pytest.raises(MalformedJson, match="nested deeper"):
            read((bracket * depth).encode(), 64)


def test_names_given_twice_are_noted() -> None:
    stream = JsonStream()

    assert read(b'[{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}]', 3, stream)
    assert stream.repeated_names == ["c", "a"]


def test_a_large_array_that_no_field_takes_is_not_read_to_its_end(monkeypatch) -> None:
    monkeypatch.setattr(json_stream, "_LARGE", 100)
    stream = JsonStream()
    reading = stream.value()
    next(reading)
    reading.send(b"[")
    for _ in range(19):
        reading.send(b"1," * 500)

    with pytest.raises(TooLarge, match="more than 10000 items"):
        reading.send(b"1," * 1000)


def _refuse(name: str) -> None:
    raise ValueError(name)
