"""When a prompt counts as cut: by what Ollama counted, beside the window and the text's length."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.calls import Call
from promptmill.domain.context_window import may_be_cut, num_ctx_of, sent_text, text_of, was_cut

WINDOW = 4096
ENGLISH = "filler text goes here and on. "
SCRIPTS = {"English": ENGLISH, "Chinese": "这是一段很长的文字", "Russian": "длинный текст "}


def kept(prompt_tokens: int, window: int) -> set[int]:
    """What Ollama counts of a prompt that is longer than the window, by version."""
    return {window, window - 1, window // 2 + 2} if prompt_tokens > window else {prompt_tokens}


@given(st.integers(min_value=64, max_value=131_072), st.data())
def test_a_text_that_is_longer_than_the_window_was_cut_however_the_version_cuts_it(
    window, data
) -> None:
    tokens = data.draw(st.integers(window + 1, 4 * window))
    sent = sent_text("word" * tokens)

    assert all(was_cut(count, sent, {window}) for count in kept(tokens, window))


@given(st.sampled_from([128, 256, 512, 768, 1024, 2048, 4000, 4096, 32_768]), st.data())
def test_every_prompt_that_was_cut_is_worth_asking_for_the_window(window, data) -> None:
    tokens = data.draw(st.integers(window + 1, 4 * window))
    counted = kept(tokens, window)

    assert all(may_be_cut(count, sent_text("word" * tokens)) for count in counted)


def test_an_ordinary_prompt_is_not_worth_asking_for_the_window() -> None:
    assert not may_be_cut(300, sent_text("word" * 300))
    assert not may_be_cut(None, sent_text("word" * 300))


@given(st.integers(min_value=64, max_value=131_072), st.data())
def test_a_text_that_fits_was_not_cut_even_if_it_is_half_a_window_long(window, data) -> None:
    tokens = data.draw(st.integers(1, window - 2) | st.just(window // 2 + 2))
    sent = sent_text("word" * tokens)

    assert not was_cut(tokens, sent, {window})


@pytest.mark.parametrize("script", SCRIPTS)
def test_half_a_window_of_any_script_is_not_taken_for_a_cut_text(script) -> None:
    # Bytes per token: 4.3 for English, 4.5 for Chinese, 6 for Russian, as tokenizers of today have.
    bytes_per_token = {"English": 4.3, "Chinese": 4.5, "Russian": 6.0}[script]
    half = WINDOW // 2 + 2
    text = SCRIPTS[script]
    times = round(half * bytes_per_token / len(text.encode()))

    assert not was_cut(half, sent_text(text * times), {WINDOW})
    assert was_cut(half, sent_text(text * (2 * times)), {WINDOW})


def test_far_too_many_characters_for_the_tokens_of_a_large_part_of_the_window_are_a_cut() -> None:
    assert was_cut(3000, sent_text("a" * 36_001), {WINDOW})
    assert not was_cut(3000, sent_text("a" * 36_000), {WINDOW})
    # A cut leaves at least half of the window: long runs of one sign are few tokens.
    assert not was_cut(300, sent_text("-" * 40_000), {WINDOW})


def test_a_chat_that_lost_its_long_messages_was_cut() -> None:
    lost = sent_text(ENGLISH * 2000, "And now?", is_chat=True)

    assert was_cut(12, lost, {WINDOW})
    assert not was_cut(12, sent_text("-" * 40_000, "And now?", is_chat=True), {WINDOW})


def test_without_a_known_window_only_a_long_text_tells() -> None:
    assert was_cut(2050, sent_text(ENGLISH * 1300), ())
    assert not was_cut(4096, sent_text("word" * 4096), ())
    assert not was_cut(100, sent_text("-" * 40_000), ())
    assert not was_cut(None, sent_text(ENGLISH * 1300), {WINDOW})


@pytest.mark.parametrize(
    ("fields", "chars"),
    [
        ({"prompt": "abc"}, 3),
        ({"prompt": "abc", "parameters": {"system": "de"}}, 5),
        ({"messages": ({"content": "abc"}, {"content": None}, {"content": "d"})}, 4),
        ({"prompt": "abc", "parameters": {"images": ["aGk="]}}, None),
        ({"messages": ({"content": "abc", "images": ["aGk="]},)}, None),
    ],
)
def test_the_text_of_a_call_is_all_that_the_model_reads(fields: dict[str, Any], chars) -> None:
    sent = text_of(Call(model="m", **fields))

    assert (None if sent is None else sent.chars) == chars


def test_a_lone_surrogate_has_a_size_too() -> None:
    assert sent_text("a\ud83d").utf8_bytes == 2


@pytest.mark.parametrize(
    ("parameters", "window"),
    [
        ({}, None),
        ({"options": None}, None),
        ({"options": {"num_ctx": 512}}, 512),
        ({"options": {"num_ctx": True}}, None),
        ({"options": {"num_ctx": -1}}, None),
        ({"options": {"num_ctx": "512"}}, None),
    ],
)
def test_the_window_that_a_request_asks_for_is_a_whole_number_of_tokens(parameters, window) -> None:
    assert num_ctx_of(parameters) == window
