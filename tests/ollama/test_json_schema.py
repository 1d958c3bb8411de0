"""Schemas that strangers send: the sound ones are applied as they should be, the rest is refused."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptmill.ollama.answer_checks.json_schema import (
    LARGEST,
    TooCostly,
    Unsound,
    mismatch,
    schema_fault,
    unchecked_in,
)

STRING = {"type": "string"}
DRAFT7 = "http://json-schema.org/draft-07/schema#"


def nested(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


SOUND = {
    "nothing": {},
    "an object": {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
    "a tree": {"$ref": "#/$defs/n", "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}},
    "older definitions": {
        "properties": {"a": {"$ref": "#/definitions/b"}},
        "definitions": {"b": {}},
    },
    "a reference to an odd place": {"$ref": "#/odd/place", "odd": {"place": STRING}},
    "an id of its own": {"$id": "https://x.test/s", "$ref": "#/$defs/a", "$defs": {"a": STRING}},
    "an anchor": {"$ref": "#a", "$defs": {"x": {"$anchor": "a", **STRING}}},
    "another dialect": {"$schema": DRAFT7, "dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
    "properties with names of keywords": {
        "properties": {"$ref": STRING, "$schema": STRING, "pattern": STRING}
    },
    "a name of a reference in data": {"const": {"$ref": "https://example.com"}},
    "deep": nested(60),
    "a repeated expression": {"pattern": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
}


@pytest.mark.parametrize("schema", SOUND.values(), ids=SOUND)
def test_a_sound_schema_has_no_fault_and_is_applied(schema) -> None:
    assert schema_fault(schema) is None
    mismatch(schema, {"a": "b"})


UNSOUND = {
    "no object": (["string"], "must be a JSON Schema object"),
    "true": (True, "must be a JSON Schema object"),
    "an unknown type": (
        {"properties": {"age": {"type": "int"}}},
        'is no valid JSON Schema: `$.properties.age.type` is "int", which breaks "enum": ["array",',
    ),
    "a type of another type": ({"required": "name"}, '`$.required` is "name", which breaks "type"'),
    "a reference to the net": (
        {"items": {"$ref": "https://example.com/s.json"}},
        "has the `$ref` `https://example.com/s.json`; only references within the schema",
    ),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, "only references within the schema"),
    "a reference into nowhere": ({"$ref": "#/$defs/a"}, "`#/$defs/a`, which leads nowhere"),
    "a reference to a text": ({"title": "a", "$ref": "#/title"}, "is no valid JSON Schema"),
    "a reference to a false schema": (
        {"odd": {"type": "int"}, "$ref": "#/odd"},
        "is no valid JSON Schema",
    ),
    "a dynamic reference to the net": ({"$dynamicRef": "https://x.test#a"}, "`$dynamicRef`"),
    "a reference to itself": ({"$ref": "#"}, "refers to itself without end"),
    "references in a ring": (
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}},
        },
        "refers to itself without end",
    ),
    "branches that double": (
        {
            "$ref": "#/$defs/0",
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(60)}
            | {"60": {}},
        },
        "branches too much to be checked",
    ),
    "a malformed expression": ({"pattern": "("}, "regular expression `(`, which cannot be used"),
    "a malformed name of properties": ({"patternProperties": {"[": {}}}, "`[`, which cannot"),
    "a malformed expression after a list of dependencies": (
        {"$schema": DRAFT7, "dependencies": {"a": ["b"], "c": {"pattern": "("}}},
        "regular expression `(`",
    ),
    "too many expressions": (
        {"patternProperties": {f"a{n}": {} for n in range(51)}},
        "more than 50 different regular expressions",
    ),
    "heavy expressions": (
        {"allOf": [{"pattern": f"{n}a{{4000}}"} for n in range(4)]},
        "repeat too much in all",
    ),
    "what cannot be counted": ({"unevaluatedProperties": False}, "which is not supported"),
    "an unknown dialect": ({"$schema": "https://example.com/my"}, "has an unknown `$schema`"),
    "a dialect that is no text": ({"$schema": 7}, "has an unknown `$schema`"),
    "a change of dialect inside": ({"properties": {"a": {"$schema": DRAFT7}}}, "at the top only"),
    "too deep": (nested(64), "is nested deeper than 64 levels"),
    "far too deep": (nested(5000), "is nested deeper than 64 levels"),
    "too large": ({"enum": ["x" * LARGEST]}, "at most 65536 are accepted"),
    "no JSON": ({"const": float("nan")}, "is not JSON"),
}


@pytest.mark.parametrize(("schema", "fault"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_schema_is_refused_with_the_reason(schema, fault) -> None:
    said = schema_fault(schema)

    assert said is not None
    assert fault in said
    assert len(said) < 600


def test_an_unsound_schema_is_not_applied() -> None:
    with pytest.raises(Unsound, match="unknown `\\$schema`"):
        mismatch({"$schema": "https://example.com/my"}, 1)


def test_the_order_of_its_members_does_not_matter_to_a_schema_and_changing_it_does() -> None:
    schema = {"type": "object", "required": ["a"]}
    assert mismatch(schema, {}) == mismatch(dict(reversed(schema.items())), {}) == "`$` has no `a`"

    schema["required"] = ["b"]

    assert mismatch(schema, {}) == "`$` has no `b`"


APPLIED = [
    {"type": ["string", "null"]},
    {"type": "integer", "minimum": 2},
    {"enum": [1, "a", None, [1]]},
    {"const": {"a": 1}},
    {"uniqueItems": True},
    {"uniqueItems": False},
    {"additionalProperties": False, "properties": {"a": {}}, "patternProperties": {"^b": STRING}},
    {"additionalProperties": {"type": "integer"}, "properties": {"a": {}}},
    {"patternProperties": {"a": {"type": "integer"}}},
    {"pattern": "^a+b?$"},
    {"propertyNames": {"pattern": "^[ab]$"}},
    {"prefixItems": [STRING], "items": False},
    {"contains": {"const": 1}, "minContains": 2},
    {"oneOf": [{"type": "integer"}, {"minimum": 2}]},
    {"not": {"type": "array"}},
    {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
    {"dependentRequired": {"a": ["b"]}},
    {"properties": {"a": False}},
    {"items": {"$ref": "#"}, "type": ["array", "number"]},
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([1.0, 1.5, "", "a", "ab", "b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "bb", "c"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@example({"uniqueItems": True}, [1, True, [0], [False], {"a": 1}, {"a": True}])
@example({"uniqueItems": True}, [1, 1.0])
@given(st.sampled_from(APPLIED), JSON_VALUES)
@settings(max_examples=400)
def test_what_fits_is_what_the_library_itself_says_fits(schema, value) -> None:
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)

    said = mismatch(schema, value)

    assert (said is None) is fits
    assert said is None or said.startswith("`$")


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"items": {"type": "integer"}}, [1, "b"], '`$[1]` is "b", which breaks "type": "integer"'),
        ({"required": ["a", "b"]}, {}, "`$` has no `a`, `b`"),
        (
            {"properties": {"a": {"additionalProperties": False}}},
            {"a": {"b": 1, "c": 2}},
            "`$.a` has `b`, `c`, which the schema does not allow",
        ),
        ({"properties": {"a": False}}, {"a": 1}, "`$` is 1, where nothing is allowed"),
        (
            {"properties": {"a": {"anyOf": [{"properties": {"b c": {"type": "string"}}}]}}},
            {"a": {"b c": 1}},
            '`$.a[\'b c\']` is 1, which breaks "type": "string"',
        ),
        ({"type": "null"}, True, '`$` is true, which breaks "type": "null"'),
    ],
)
def test_a_mismatch_is_told_in_the_terms_of_json(schema, value, said) -> None:
    assert mismatch(schema, value) == said


@pytest.mark.proof
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 100_000 + "!"),
        ({"patternProperties": {"^(a|a)*$": False}}, {"a" * 50_000 + "!": 1}),
        (
            {"additionalProperties": True, "patternProperties": {"(a*)*!$": {}}},
            {"a" * 50_000: 1},
        ),
        ({"uniqueItems": True}, [{"a": n} for n in range(50_000)]),
    ],
)
def test_what_would_take_a_naive_check_for_ever_takes_no_time(schema, value) -> None:
    began = time.perf_counter()

    mismatch(schema, value)

    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        (
            {"items": {"allOf": [{"type": "integer"}] * 20}},
            list(range(100_000)),
            "too long to check",
        ),
        ({"items": {"enum": list(range(5000))}}, list(range(1000)), "too long to check"),
        ({"pattern": r"\w{200}!"}, "a" * 10_000, "too long for a `pattern`"),
        ({"multipleOf": 0.1}, json.loads("1e400"), "the check ended with OverflowError"),
    ],
)
def test_a_check_that_costs_too_much_is_given_up(schema, value, reason) -> None:
    with pytest.raises(TooCostly, match=reason):
        mismatch(schema, value)


DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
"""As pydantic writes it for each `Decimal`."""


@pytest.mark.parametrize("expression", [DECIMAL, r"(?<=a)b", r"(?<!a)b", r"(a)\1", "(?=a)b"])
def test_an_expression_with_look_around_is_accepted_and_said_to_be_unchecked(expression) -> None:
    schema = {"properties": {"a": {"pattern": expression}, "b": {"pattern": "^x"}}}

    assert schema_fault(schema) is None
    assert unchecked_in(schema) == (expression,)


@pytest.mark.parametrize(
    ("schema", "fits", "fits_not"),
    [
        ({"type": "string", "pattern": DECIMAL}, ["1.5", "abc"], [7]),
        ({"not": {"pattern": DECIMAL}}, ["1.5", "abc"], []),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": DECIMAL}]}, [1, "x"], [None]),
        (
            {"patternProperties": {"(?=a)b": {"type": "number"}}, "additionalProperties": False},
            [{"b": 1}, {"c": 2}],
            [{"c": "x"}],
        ),
        (
            {"properties": {"a": {"pattern": DECIMAL}, "b": {"pattern": "^x"}}},
            [{"a": "no number", "b": "xy"}],
            [{"a": "1", "b": "y"}],
        ),
    ],
)
def test_all_but_the_unchecked_expression_of_a_schema_is_checked(schema, fits, fits_not) -> None:
    assert [mismatch(schema, value) for value in fits] == [None] * len(fits)
    assert all(mismatch(schema, value) for value in fits_not)
