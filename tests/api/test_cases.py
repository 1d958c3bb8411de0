"""What the door takes of what Ollama and everybody's tools write: a row for each case of the field.

The rows about files are in tests/cli/test_cases.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.test_dialects import CALL, DECIMAL, PNG

ASK = {"role": "user", "content": "Name a hill."}


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"prompts": [{"messages": list(messages)}]}


ACCEPTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a schema with look-around, as Pydantic writes for Decimal": (
        {"prompts": ["a"], "format": {"anyOf": [{"type": "number"}, {"pattern": DECIMAL}]}},
        [DECIMAL],
    ),
    "a schema without any": ({"prompts": ["a"], "format": {"pattern": "^a"}}, []),
    "content null beside calls of tools": (
        chat(ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        [],
    ),
    "content in parts with an image": (
        chat(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            }
        ),
        [],
    ),
    "options of older Ollama": (
        {"prompts": ["a"], "options": {"use_mlock": True, "low_vram": True, "num_gqa": 8}},
        [],
    ),
    "null for what is not given": ({"prompts": ["a"], "system": None, "options": None}, []),
    "a whole number with a point": ({"prompts": ["a"], "options": {"num_predict": 5.0}}, []),
    "keep_alive as seconds, and for ever": ({"prompts": ["a"], "keep_alive": -1}, []),
    "keep_alive of nothing": ({"prompts": ["a"], "keep_alive": "0s"}, []),
    "format as a word": ({"prompts": ["a"], "format": "json"}, []),
    "format that is empty": ({"prompts": ["a"], "format": ""}, []),
    "think as a level": ({"prompts": ["a"], "think": "low"}, []),
    "base64 with line ends": ({"prompts": [{"prompt": "a", "images": [f"{PNG}\r\n"]}]}, []),
    "a model by its whole name": (
        {"prompts": ["a"], "model": "registry.ollama.ai/library/qwen3:8b"},
        [],
    ),
    "a model of Hugging Face": ({"prompts": ["a"], "model": "hf.co/org/Model-GGUF:Q4_K_M"}, []),
    "joined emoji and other scripts": ({"prompts": ["👩‍👩‍👧 🇩🇪", "שלום", "a\u2028b\fc"]}, []),
}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "options in the wrong place, and by OpenAI's names": (
        {"prompts": ["a"], "temperature": 0, "max_tokens": 5, "options": {"max_tokens": 5}},
        {
            "/temperature": "put it into options",
            "/max_tokens": "Ollama's name is options.num_predict",
            "/options/max_tokens": "Ollama's name is options.num_predict",
        },
    ),
    "a schema as a text": (
        {"prompts": ["a"], "format": '{"type": "object"}'},
        {"/format": 'must be "json" or a JSON Schema object'},
    ),
    "an image with data: before it": (
        {"prompts": [{"prompt": "a", "images": [f"data:image/png;base64,{PNG}"]}]},
        {"/prompts/0/images/0": "must be bare base64"},
    ),
    "keep_alive without a unit": (
        {"prompts": ["a"], "keep_alive": "-1"},
        {"/keep_alive": "a duration with a unit"},
    ),
    "think as a word that is none": (
        {"prompts": ["a"], "think": "none"},
        {"/think": 'must be true, false, "low"'},
    ),
    "an id twice": (
        {"prompts": [{"id": "a", "prompt": "a"}, {"id": "a", "prompt": "b"}]},
        {"/prompts/1/id": "is already the id of prompt 0"},
    ),
    "an id that is a number": (
        {"prompts": [{"id": 1.5, "prompt": "a"}]},
        {"/prompts/0/id": "must be a string"},
    ),
    "an empty prompt": ({"prompts": ["a", " "]}, {"/prompts/1": "must not be empty"}),
    "a chat of ShareGPT": (
        {"prompts": [{"conversations": [{"from": "human", "value": "a"}]}]},
        {"/prompts/0/conversations": "unknown field"},
    ),
}


async def test_what_people_write_is_taken(service, subtests: pytest.Subtests) -> None:
    for case, (body, unchecked) in ACCEPTED.items():
        with subtests.test(case=case):
            response = await service.post(body)

            assert response.status_code == 202, response.text
            assert [one.split("`")[1] for one in response.json()["unchecked"]] == unchecked


async def test_what_is_refused_is_told_its_place_and_the_fix(
    service, subtests: pytest.Subtests
) -> None:
    for case, (body, told) in REFUSED.items():
        with subtests.test(case=case):
            response = await service.post(body)

            assert response.status_code == 422
            errors = {one["pointer"]: one["detail"] for one in response.json()["errors"]}
            for pointer, words in told.items():
                assert words in errors.get(pointer, ""), errors
            assert await service.stored() == []
