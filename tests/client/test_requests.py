"""What goes over the wire."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from promptmill.client.errors import UnexpectedAnswer
from promptmill.client.requests import batches, benchmarks, uploads
from promptmill.client.requests.batches import Answer
from promptmill.client.requests.uploads import Lines
from promptmill.contract.batches import Batch
from tests.documents import whole


def test_submitting_sends_prompts_fields_and_the_key() -> None:
    request = batches.submit_batch(
        ["Why?", {"id": "b", "prompt": "Où ça ?"}],
        {"model": "tiny", "max_concurrent": 2},
        idempotency_key="k1",
    )

    assert (request.method, request.path) == ("POST", "/batches")
    assert request.headers["idempotency-key"] == "k1"
    assert request.content is not None
    assert json.loads(request.content) == {
        "prompts": ["Why?", {"id": "b", "prompt": "Où ça ?"}],
        "model": "tiny",
        "max_concurrent": 2,
    }


def test_fields_that_were_not_given_are_not_sent() -> None:
    request = batches.submit_batch(["a"], {}, idempotency_key="k")

    assert request.content == b'{"prompts":["a"]}'


def test_a_single_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="list of prompts"):
        batches.submit_batch("Why is the sky blue?", {}, idempotency_key="k")


@pytest.mark.parametrize("prompts", [None, float("nan"), 3])
def test_what_is_no_list_is_named_by_its_type(prompts: Any) -> None:
    told = f"prompts must be a list of prompts, not {type(prompts).__name__}"
    for submit in (batches.submit_batch, uploads.submit_stream):
        with pytest.raises(TypeError, match=told):
            submit(prompts, {}, idempotency_key="k")


@pytest.mark.parametrize(
    ("key", "error"), [("ü", ValueError), ("a\nb", ValueError), (3, TypeError), (b"k", TypeError)]
)
def test_a_key_that_no_header_can_carry_is_refused(key: Any, error: type[Exception]) -> None:
    for submit in (batches.submit_batch, uploads.submit_stream):
        with pytest.raises(error, match=r"^idempotency_key"):
            submit(["a"], {}, idempotency_key=key)


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ([], "at least one prompt"),
        (["\ud83d"], r"^prompts\[0\] .* surrogates not allowed"),
        (
            ["a", {"prompt": "b", "top_p": float("nan")}],
            r"^prompts\[1\].top_p is NaN, .* compliant",
        ),
        (
            [{"prompt": "a", "options": {"stop": [1e999]}}],
            r"^prompts\[0\].options.stop\[0\] is inf",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_before_sending(prompts: list[object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        batches.submit_batch(prompts, {}, idempotency_key="k")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("gap", [float("nan"), None, 3, b"bytes", ["a"]])
def test_a_gap_in_a_column_is_refused_with_its_place(gap: object) -> None:
    expected = f"prompts[1] must be a string or an object, not {type(gap).__name__}"
    prompts: list[Any] = ["Name a lake.", gap]

    with pytest.raises(TypeError) as one:
        batches.submit_batch(prompts, {}, idempotency_key="k")
    with pytest.raises(TypeError) as streamed:
        list(Lines(prompts))

    assert str(one.value) == str(streamed.value) == expected


def test_a_field_of_the_batch_that_json_cannot_say_is_named() -> None:
    with pytest.raises(ValueError, match=r"^options.temperature is NaN"):
        batches.submit_batch(["a"], {"options": {"temperature": math.nan}}, idempotency_key="k")
    with pytest.raises(
        TypeError, match=r"^options.stop is of the type set, which JSON cannot hold"
    ):
        batches.submit_batch(["a"], {"options": {"stop": {"a"}}}, idempotency_key="k")


def test_a_benchmark_of_what_is_no_name_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"^models\[1\] must be a string, not float"):
        benchmarks.create_benchmark(["m", math.nan], {}, idempotency_key="k")  # pyright: ignore[reportArgumentType]


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    assert batches.get_batch("../models?x=/").path == "/batches/..%2Fmodels%3Fx%3D%2F"


def test_a_long_poll_lets_the_service_hold_the_answer_for_that_time() -> None:
    request = batches.get_batch("batch_1", limit=0, wait_s=30.0)

    assert request.query == (("limit", "0"), ("wait_s", "30.000"))
    assert request.held_s == 30.0


def test_listing_filters_by_metadata() -> None:
    request = batches.list_batches(limit=5, status="running", metadata={"run": "7"})

    assert request.query == (("limit", "5"), ("status", "running"), ("metadata.run", "7"))


@pytest.mark.parametrize(
    "request_", [batches.cancel_batch("batch_1"), batches.delete_batch("batch_1")]
)
def test_what_would_be_refused_the_second_time_is_not_repeatable(
    request_: batches.Request[object],
) -> None:
    assert not request_.repeatable


def test_fields_and_statuses_of_a_newer_service_are_kept() -> None:
    content = json.dumps(
        whole(
            Batch,
            {
                "id": "batch_1",
                "status": "hibernating",
                "model": "tiny",
                "counts": {"total": 1},
                "progress": 0.0,
                "created_at": "2026-11-23T06:30:00.123Z",
                "colour": "blue",
            },
        )
    ).encode()

    batch = batches.get_batch("batch_1").read(Answer(status=200, headers={}, content=content))

    assert batch.status == "hibernating"
    assert not batch.has_ended
    assert batch.model_extra == {"colour": "blue"}


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"id": 7}', b"", b"\xff"])
def test_an_answer_that_is_no_batch_is_unexpected(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        batches.get_batch("batch_1").read(Answer(status=200, headers={}, content=content))


@pytest.mark.parametrize(("status", "is_ready"), [(200, True), (503, False)])
def test_not_being_ready_is_an_answer_and_not_an_error(status: int, is_ready: bool) -> None:
    content = b'{"title": "Not ready", "detail": "No connection to Ollama."}'

    readiness = batches.ready().read(Answer(status=status, headers={}, content=content))

    assert readiness.is_ready is is_ready
    assert readiness.detail["detail"] == "No connection to Ollama."
