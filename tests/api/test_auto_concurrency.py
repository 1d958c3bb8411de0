"""`max_concurrent: auto` over HTTP: asked for, seen in the batch, ended by a number."""

from __future__ import annotations

import pytest


async def test_a_batch_may_ask_for_auto_and_shows_the_number_it_starts_with(service) -> None:
    batch = (await service.post({"prompts": ["a"], "max_concurrent": "auto"})).json()

    assert (batch["max_concurrent"], batch["auto_concurrency"]) == (5, True)


async def test_a_number_ends_the_adapting_and_auto_begins_it(service) -> None:
    batch = (await service.post({"prompts": ["a"], "max_concurrent": "auto"})).json()
    path = f"/batches/{batch['id']}"

    fixed = (await service.client.patch(path, json={"max_concurrent": 7})).json()
    auto = (await service.client.patch(path, json={"max_concurrent": "auto"})).json()
    same = (await service.client.patch(path, json={"priority": 1})).json()

    shown = [(one["max_concurrent"], one["auto_concurrency"]) for one in (fixed, auto, same)]
    assert shown == [(7, False), (7, True), (7, True)]


async def test_no_other_word_is_taken_for_auto(service, subtests: pytest.Subtests) -> None:
    for word in ["Auto", "AUTO", "", "automatic", ["auto"], 1.5, True]:
        with subtests.test(word=word):
            response = await service.post({"prompts": ["a"], "max_concurrent": word})

            assert response.status_code == 422
            assert response.json()["errors"] == [
                {
                    "pointer": "/max_concurrent",
                    "detail": "must be a whole number from 1 to 256, or `auto`",
                }
            ]
