"""Which prompts begin alike."""

from __future__ import annotations

import pytest

from promptmill.domain.batches import PromptDraft
from promptmill.domain.scheduling.prefix_groups import PREFIX_CHARS, beginning_of, fingerprint_of

LONG = "You answer questions about the following contract. " * 20


@pytest.mark.parametrize(
    ("one", "other", "parameters"),
    [
        (PromptDraft("a"), PromptDraft("b"), {"system": LONG}),
        (PromptDraft(f"{LONG}a"), PromptDraft(f"{LONG}b"), {}),
        (PromptDraft("a", None, {"system": LONG}), PromptDraft("b", None, {"system": LONG}), {}),
        (
            PromptDraft("a", None, {"options": {"seed": 1}}),
            PromptDraft("b", None, {"options": {"seed": 2}}),
            {"system": LONG},
        ),
        (
            PromptDraft("a", None, {"messages": [{"role": "system", "content": LONG}]}),
            PromptDraft(
                "b",
                None,
                {
                    "messages": [
                        {"role": "system", "content": LONG},
                        {"role": "user", "content": "b"},
                    ]
                },
            ),
            {},
        ),
    ],
)
def test_prompts_with_the_same_long_beginning_begin_alike(one, other, parameters) -> None:
    beginning = beginning_of(one, parameters)

    assert beginning is not None
    assert beginning_of(other, parameters) == beginning


def test_a_short_prompt_begins_like_no_other() -> None:
    assert beginning_of(PromptDraft("x" * (PREFIX_CHARS - 2)), {}) is None
    assert beginning_of(PromptDraft("x" * PREFIX_CHARS), {}) is not None


def test_the_system_prompt_is_read_before_the_prompt() -> None:
    own = PromptDraft(LONG, None, {"system": "Be brief."})

    assert beginning_of(own, {}) != beginning_of(PromptDraft(LONG), {})
    assert beginning_of(own, {"system": LONG}) == beginning_of(own, {})


@pytest.mark.parametrize(
    ("draft", "parameters"),
    [
        (PromptDraft(LONG, None, {"images": ["aGk="]}), {}),
        (PromptDraft(LONG), {"images": ["aGk="]}),
        (
            PromptDraft(
                "a",
                None,
                {"messages": [{"role": "user", "content": LONG, "images": ["aGk="]}]},
            ),
            {},
        ),
    ],
)
def test_what_begins_with_an_image_begins_like_no_other(draft, parameters) -> None:
    assert beginning_of(draft, parameters) is None


def test_a_beginning_has_one_fingerprint_in_every_process_whatever_is_in_it() -> None:
    assert fingerprint_of("a\ud800") == fingerprint_of("a\ud800")
    assert fingerprint_of("abc") == "d8bb14d833d59559"
