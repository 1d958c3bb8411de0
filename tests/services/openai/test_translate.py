"""Requests of OpenAI in Ollama's terms: what becomes of each field, and that none is dropped."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.ollama.answer_checks.json_schema import schema_fault
from promptmill.services.openai.translation.faults import Refused
from promptmill.services.openai.translation.sampling import HARMLESS
from promptmill.services.openai.translation.translate import Endpoint, Translated, translate

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
USER = {"role": "user", "content": "Why?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def chat(**body: Any) -> Translated:
    given = {"model": "qwen3:8b", "messages": [USER]} | body
    return translate(Endpoint.CHAT, given, usable_schema=schema_fault)


def completion(**body: Any) -> Translated:
    given = {"model": "qwen3:8b", "prompt": "Why?"} | body
    return translate(Endpoint.COMPLETIONS, given, usable_schema=schema_fault)


def embedding(**body: Any) -> Translated:
    given = {"model": "nomic-embed-text", "input": "a pear"} | body
    return translate(Endpoint.EMBEDDINGS, given, usable_schema=schema_fault)


def faults(kind: Any, **body: Any) -> list[tuple[str | None, str | None]]:
    with pytest.raises(Refused) as refusal:
        kind(**body)
    return [(fault.code, fault.param) for fault in refusal.value.faults]


# --- texts to embed ------------------------------------------------------------------------------


def test_a_text_is_embedded_as_it_is() -> None:
    assert embedding() == Translated(
        "nomic-embed-text", "a pear", {}, {"texts": 1, "base64": False}
    )


def test_several_texts_stay_together() -> None:
    found = embedding(input=["a", "b"], encoding_format="base64")
    assert (found.text, found.fields) == ("a", {"input": ["a", "b"]})
    assert found.mark == {"texts": 2, "base64": True}


def test_fields_of_embeddings_become_those_of_ollama() -> None:
    body = {"dimensions": 8, "truncate": True, "options": {"num_ctx": 512}, "keep_alive": "1h"}
    assert embedding(**body, user="u", encoding_format="float").fields == body


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": ""}, "empty_string", "input"),
        ({"input": []}, "empty_array", "input"),
        ({"input": ["a", ""]}, "empty_string", "input[1]"),
        ({"input": ["a", {}]}, "invalid_type", "input[1]"),
        ({"input": [1, 2]}, "unsupported_value", "input"),
        ({"input": [[1, 2]]}, "unsupported_value", "input"),
        ({"input": ["a"] * 2049}, "array_above_max_length", "input"),
        ({"dimensions": 0}, "integer_below_min_value", "dimensions"),
        ({"encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"stream": True}, "unknown_parameter", "stream"),
        ({"num_ctx": 9}, "unknown_parameter", "num_ctx"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(body: Any, code: str, param: str) -> None:
    assert faults(embedding, **body) == [(code, param)]


def test_tokens_are_refused_with_the_switch_of_langchain() -> None:
    with pytest.raises(Refused, match="check_embedding_ctx_length=False"):
        embedding(input=[[1, 2, 3]])


# --- what fields become --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"temperature": 0.5, "top_p": 1, "seed": 7}, {"temperature": 0.5, "top_p": 1, "seed": 7}),
        ({"max_tokens": 9}, {"num_predict": 9}),
        ({"max_completion_tokens": 9, "max_tokens": 9}, {"num_predict": 9}),
        ({"stop": "\n"}, {"stop": ["\n"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"frequency_penalty": -2, "presence_penalty": 2.0}, None),
        ({"options": {"num_ctx": 4096}, "temperature": 1}, {"num_ctx": 4096, "temperature": 1}),
    ],
)
def test_how_tokens_are_drawn_becomes_options(body: Any, fields: Any) -> None:
    assert chat(**body).fields["options"] == (body if fields is None else fields)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
                }
            },
            {"format": {"type": "object"}},
        ),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TOOL]}),
        ({"tools": [TOOL], "tool_choice": "none"}, {}),
        ({"tools": []}, {}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning": {"effort": "xhigh"}}, {"think": "max"}),
        (
            {"keep_alive": "10m", "think": True, "truncate": True, "shift": False},
            {"keep_alive": "10m", "think": True, "truncate": True, "shift": False},
        ),
        ({"n": 1, "stream": False, "modalities": ["text"], "verbosity": "medium"}, {}),
        ({"logit_bias": {}, "temperature": None}, {}),
        (dict.fromkeys(HARMLESS, "x"), {}),
    ],
)
def test_the_other_fields_become_those_of_ollama(body: Any, fields: Any) -> None:
    assert chat(**body).fields == {"messages": [USER]} | fields


def test_messages_become_those_of_ollama() -> None:
    found = chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is"},
                    {"type": "text", "text": "this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
            {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning": "Hm."},
            {"role": "tool", "tool_call_id": "call_1", "content": "A map"},
        ]
    )

    assert found.fields["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is\nthis?", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"id": "call_1", "function": {"name": "look", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "A map", "tool_call_id": "call_1", "tool_name": "look"},
    ]
    assert found.text == "What is\nthis?"


def test_a_completion_goes_to_generate() -> None:
    found = completion(prompt=["Why?"], suffix="!", logprobs=2, max_tokens=5, raw=True)

    assert found == Translated(
        "qwen3:8b",
        "Why?",
        {
            "options": {"num_predict": 5},
            "suffix": "!",
            "raw": True,
            "logprobs": True,
            "top_logprobs": 2,
        },
        {},
    )


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "empty_string", "messages"),
        ({"messages": [{"role": "wizard"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "function"}]}, "unsupported_value", "messages[0].role"),
        ({"messages": [USER | {"name": "x"}]}, "unsupported_parameter", "messages[0].name"),
        ({"messages": [USER | {"weight": 1}]}, "unknown_parameter", "messages[0].weight"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "x", "content": "a"}]},
            "invalid_value",
            "messages[0].tool_call_id",
        ),
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "unsupported_value", "max_tokens"),
        ({"stop": ""}, "empty_string", "stop"),
        ({"stop": list("abcde")}, "array_above_max_length", "stop"),
        ({"top_logprobs": 2}, "unsupported_value", "top_logprobs"),
        ({"tool_choice": "required", "tools": [TOOL]}, "unsupported_value", "tool_choice"),
        ({"parallel_tool_calls": False}, "unsupported_value", "parallel_tool_calls"),
        ({"tools": [{"type": "custom"}]}, "unsupported_value", "tools[0].type"),
        ({"n": 2}, "unsupported_value", "n"),
        ({"logit_bias": {"1": 2}}, "unsupported_parameter", "logit_bias"),
        ({"functions": []}, "unsupported_parameter", "functions"),
        ({"web_search_options": {}}, "unsupported_parameter", "web_search_options"),
        ({"audio": {}}, "unsupported_parameter", "audio"),
        ({"modalities": ["text", "audio"]}, "unsupported_value", "modalities"),
        ({"num_ctx": 4096}, "unknown_parameter", "num_ctx"),
        ({"temprature": 1}, "unknown_parameter", "temprature"),
        ({"options": {"seed": 1}, "seed": 2}, "unsupported_value", "options.seed"),
        ({"options": {"num_predict": 1}, "max_tokens": 2}, "unsupported_value", None),
        ({"reasoning_effort": "huge"}, "invalid_value", "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "nothing"}},
                }
            },
            "invalid_json_schema",
            "response_format.json_schema.schema",
        ),
        ({"user": "a\x00b"}, "invalid_value", "user"),
        ({"user": "\ud800"}, "invalid_value", "user"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: Any, code: str, param: Any) -> None:
    (found,) = faults(chat, **body)

    assert found == (code, "options.num_predict" if param is None else param)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.org/a.png", "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("data:text/plain;base64,QUJD", "invalid_image_format"),
        ("data:image/png;base64,QUJD", "invalid_image_format"),
        ("data:image/png;base64,***", "invalid_image_format"),
        ("data:image/png,QUJD", "invalid_image_format"),
    ],
)
def test_only_images_that_came_along_are_taken(url: str, code: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}

    place = "messages[0].content[0].image_url.url"
    assert faults(chat, messages=[{"role": "user", "content": [part]}])[0] == (code, place)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": ["a", "b"]}, "unsupported_value", "prompt"),
        ({"prompt": [1, 2]}, "unsupported_value", "prompt"),
        ({"prompt": ""}, "empty_string", "prompt"),
        ({"echo": True}, "unsupported_value", "echo"),
        ({"best_of": 2}, "unsupported_value", "best_of"),
        ({"logprobs": 6}, "integer_above_max_value", "logprobs"),
        ({"messages": []}, "unknown_parameter", "messages"),
    ],
)
def test_completions_refuse_by_name_as_well(body: Any, code: str, param: str) -> None:
    assert faults(completion, **body) == [(code, param)]


def test_all_faults_of_a_request_are_told() -> None:
    assert faults(chat, n=2, foo=1, top_p=-1) == [
        ("decimal_below_min_value", "top_p"),
        ("unsupported_value", "n"),
        ("unknown_parameter", "foo"),
    ]


# --- nothing is dropped --------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_KNOWN = [
    *("model", "messages", "prompt", "temperature", "top_p", "seed", "frequency_penalty", "stop"),
    *("presence_penalty", "max_tokens", "max_completion_tokens", "response_format", "tools", "n"),
    *("tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs", "reasoning_effort", "raw"),
    *("reasoning", "options", "keep_alive", "think", "truncate", "shift", "stream", "modalities"),
    *("verbosity", "logit_bias", "functions", "function_call", "web_search_options", "audio"),
    *("moderation", "suffix", "echo", "best_of", "num_ctx", *sorted(HARMLESS)),
]
_GOOD: dict[str, Any] = {
    "messages": [USER],
    "prompt": "Why?",
    "temperature": 0.25,
    "top_p": 0.75,
    "seed": 11,
    "frequency_penalty": 0.125,
    "presence_penalty": 0.375,
    "stop": ["END"],
    "max_tokens": 77,
    "response_format": {"type": "json_object"},
    "tools": [TOOL],
    "logprobs": True,
    "reasoning_effort": "low",
    "options": {"num_ctx": 333},
    "keep_alive": "9m",
    "truncate": True,
    "shift": True,
    "suffix": "!",
    "raw": True,
}
_SAYS_NOTHING = {
    *HARMLESS,
    *("model", "stream", "n", "modalities", "verbosity", "logit_bias", "echo", "best_of"),
    *("parallel_tool_calls", "tool_choice"),
}
"""Names that leave no trace in Ollama's request: harmless, or refused unless they say the usual."""


def _values(name: str) -> st.SearchStrategy[Any]:
    return st.just(_GOOD[name]) | _JSON if name in _GOOD else _JSON


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(_KNOWN) | st.text(max_size=8), unique=True, max_size=8))
    body = {"model": "tiny", "messages": [USER]} if draw(st.booleans()) else {}
    body |= {"prompt": "Why?"} if draw(st.booleans()) else {}
    body |= {"input": "a pear"} if draw(st.booleans()) else {}
    return body | {name: draw(_values(name)) for name in names}


@settings(max_examples=400)
@given(endpoint=st.sampled_from(Endpoint), body=bodies())
def test_no_name_of_a_body_is_dropped_in_silence(endpoint: Endpoint, body: dict[str, Any]) -> None:
    """Each is mapped, known to be harmless, or told in a fault; nothing else ends a translation."""
    try:
        found = translate(endpoint, body, usable_schema=schema_fault)
    except Refused as refusal:
        told = refusal.faults
    else:
        told = ()
    assert all(fault.message and fault.code for fault in told)
    if told:
        return
    json.dumps(found.fields, allow_nan=False)
    for name, value in body.items():
        if value is None or name in _SAYS_NOTHING:
            continue
        # Without it, the request is another one.
        without = {other: one for other, one in body.items() if other != name}
        try:
            shorter = translate(endpoint, without, usable_schema=schema_fault)
        except Refused:
            continue
        changes_nothing = value in ([], {}, {"type": "text"}, False) or (
            isinstance(value, dict) and all(one is None for one in value.values())
        )
        is_double = (
            name in {"max_tokens", "max_completion_tokens"}
            and {
                "max_tokens",
                "max_completion_tokens",
            }
            <= body.keys()
        )
        is_off = name == "tools" and body.get("tool_choice") == "none"
        agrees = name in {"reasoning", "reasoning_effort"}
        assert shorter != found or changes_nothing or is_double or is_off or agrees, name


_SAID: Any = {
    Endpoint.CHAT: {"messages": [USER]},
    Endpoint.COMPLETIONS: {"prompt": "Why?"},
    Endpoint.EMBEDDINGS: {"input": "a pear"},
}


@settings(max_examples=200)
@given(
    endpoint=st.sampled_from(Endpoint),
    name=st.text(min_size=1, max_size=12).filter(lambda one: one not in _KNOWN),
    value=_JSON.filter(lambda one: one is not None),
)
def test_a_name_that_nobody_knows_is_always_told(
    endpoint: Endpoint, name: str, value: object
) -> None:
    body = {"model": "tiny", name: value}
    body |= _SAID[endpoint]

    with pytest.raises(Refused) as refusal:
        translate(endpoint, body, usable_schema=schema_fault)

    assert {fault.code for fault in refusal.value.faults} <= {"unknown_parameter", "invalid_value"}
