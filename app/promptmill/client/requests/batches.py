"""Requests of the HTTP API about batches: how each is built and its response read.

No function does I/O: it returns a `Request`, which `client._sync.client` and `client._async.client`
send, and pass the `Answer` to `Request.read`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from promptmill.client.errors import UnexpectedAnswer
from promptmill.client.requests.filters import ResultFilters, filter_query, moment
from promptmill.client.requests.prompts import Prompt, check_prompts, key_header, prompt_value
from promptmill.contract.batches import AcceptedBatch, Batch, BatchPage
from promptmill.contract.record import Record
from promptmill.contract.results import Result, ResultPage
from promptmill.contract.service import Health, Model, ModelPage, Worker, WorkerPage
from promptmill.json_values import encoded


class Readiness(Record):
    """Readiness of the service to work."""

    is_ready: bool
    detail: dict[str, Any]
    """State of each thing that the service needs."""


T = TypeVar("T")
R = TypeVar("R", bound=Record)

DownloadFormat = Literal["ndjson", "csv"]

MEDIA_TYPES: Final[dict[DownloadFormat, str]] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}

HEARTBEAT_S: Final = 15.0
"""Longest silence of an event stream, in seconds."""


class BatchFields(TypedDict, total=False):
    """Fields of a batch beside its prompts; fields left out have the service's defaults."""

    model: str
    """Model of prompts without a model of their own."""
    kind: Literal["generate", "embed"]
    """`embed` returns a vector of each text in place of an answer."""
    max_concurrent: int | Literal["auto"]
    """Most prompts that run at a time, 1 to 256; with `auto` the limit follows the throughput."""
    rate_limit_delay: float
    """Least seconds between two request starts, 0 to 3600."""
    timeout_s: float
    """Seconds that one attempt may take."""
    max_attempts: int
    """Attempts per prompt, the first included, 1 to 20."""
    fail_on: Sequence[str]
    """Defects that make an answer a failure: `prompt_truncated`, `truncated`, `empty`,
    `invalid_json`, `schema_mismatch`; the last three if left out."""
    priority: int
    """-100 to 100; higher goes first."""
    expires_in_s: float | None
    """Seconds after which prompts without an outcome end as `expired`."""
    max_failures: int | str | None
    """Most prompts that may fail before the batch ends: a number, or a share such as `"20%"`."""
    auto_pull: bool
    """Whether models that no host has are pulled before the prompts start."""
    label: str
    """Your name for the batch, 1 to 200 characters; it need not be unique."""
    metadata: Mapping[str, str]
    """Up to 16 pairs of your own."""
    system: str
    template: str
    suffix: str
    raw: bool
    format: str | Mapping[str, Any]
    """`"json"` or a JSON Schema."""
    options: Mapping[str, Any]
    """Ollama's model options."""
    keep_alive: float | str
    think: bool | str
    images: list[str]
    truncate: bool
    dimensions: int
    """Numbers of a vector, if the batch embeds."""
    shift: bool
    logprobs: bool
    top_logprobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Complete HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Header values by name, in lower case."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """Request that can be sent, with the function that reads its response."""

    method: str
    path: str
    """Path below the service's base URL, quoted."""
    read: Callable[[Answer], T]
    """Reads the result from a response whose status is in `expected`."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes | Iterable[bytes] | None = None
    """Body; the blocks of an iterable are made while they are sent."""
    expected: frozenset[int] = frozenset({200})
    repeatable: bool = True
    """Whether the request may be sent again although the first may have succeeded."""
    sendable_once: bool = False
    """Whether the first sending uses the content up, so that the request cannot be repeated."""
    held_s: float = 0.0
    """Seconds for which the service may hold the response back."""


def submit_batch(
    prompts: Iterable[Prompt], fields: BatchFields, *, idempotency_key: str
) -> Request[AcceptedBatch]:
    """POST /batches.

    Raises:
        TypeError: `prompts` is not a list of strings and objects.
        ValueError: There is no prompt, or a value has no JSON form.
    """
    check_prompts(prompts)
    items = [prompt_value(prompt, index) for index, prompt in enumerate(prompts)]
    if not items:
        raise ValueError("a batch needs at least one prompt")
    return Request(
        method="POST",
        path="/batches",
        content=encoded({"prompts": items, **fields}),
        headers={"content-type": "application/json", **key_header(idempotency_key)},
        expected=frozenset({200, 202}),
        read=read_submitted,
    )


def new_idempotency_key() -> str:
    """Make an idempotency key that is unique."""
    return str(uuid.uuid4())


def get_batch(batch_id: str, *, limit: int = 0, wait_s: float = 0.0) -> Request[Batch]:
    """GET /batches/{id}, with the first `limit` results.

    The service responds when the batch has ended, or after `wait_s` seconds.
    """
    query = [("limit", str(limit))]
    if wait_s > 0:
        query.append(("wait_s", f"{wait_s:.3f}"))
    return Request(
        method="GET",
        path=f"/batches/{_part(batch_id)}",
        query=tuple(query),
        held_s=wait_s,
        read=reader_of(Batch),
    )


def results_page(
    batch_id: str,
    *,
    limit: int = 100,
    cursor: str | None = None,
    status: str | None = None,
    filters: ResultFilters | None = None,
) -> Request[ResultPage]:
    """GET /batches/{id}/results: a page."""
    return Request(
        method="GET",
        path=f"/batches/{_part(batch_id)}/results",
        query=query_of(limit=str(limit), cursor=cursor, status=status)
        + filter_query(filters or {}),
        headers={"accept": "application/json"},
        read=reader_of(ResultPage),
    )


def download_results(
    batch_id: str,
    *,
    format: DownloadFormat,  # noqa: A002 - the contract's word
    status: str | None = None,
    filters: ResultFilters | None = None,
) -> Request[bytes]:
    """GET /batches/{id}/results: all results as a stream."""
    return Request(
        method="GET",
        path=f"/batches/{_part(batch_id)}/results",
        query=query_of(status=status) + filter_query(filters or {}),
        headers={"accept": MEDIA_TYPES[format]},
        read=lambda answer: answer.content,
    )


def batch_events(
    batch_id: str, *, results: bool = False, last_event_id: str | None = None
) -> Request[bytes]:
    """GET /batches/{id}/events; status 204 means that no events follow."""
    resume = {} if last_event_id is None else {"last-event-id": last_event_id}
    return Request(
        method="GET",
        path=f"/batches/{_part(batch_id)}/events",
        query=query_of(results="true" if results else None),
        headers={"accept": "text/event-stream", **resume},
        expected=frozenset({200, 204}),
        held_s=HEARTBEAT_S,
        read=lambda answer: answer.content,
    )


def list_batches(
    *,
    limit: int = 100,
    cursor: str | None = None,
    status: str | None = None,
    model: str | None = None,
    label: str | None = None,
    metadata: Mapping[str, str] | None = None,
    key: str | None = None,
    q: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Request[BatchPage]:
    """GET /batches: a page, newest first."""
    pairs = tuple((f"metadata.{name}", value) for name, value in (metadata or {}).items())
    return Request(
        method="GET",
        path="/batches",
        query=query_of(
            limit=str(limit),
            cursor=cursor,
            status=status,
            model=model,
            label=label,
            key=key,
            q=q,
            created_after=moment(created_after),
            created_before=moment(created_before),
        )
        + pairs,
        read=reader_of(BatchPage),
    )


def cancel_batch(batch_id: str) -> Request[Batch]:
    """POST /batches/{id}/cancel. A repetition may be refused because the batch has ended."""
    return Request(
        method="POST",
        path=f"/batches/{_part(batch_id)}/cancel",
        expected=frozenset({200, 202}),
        repeatable=False,
        read=reader_of(Batch),
    )


def delete_batch(batch_id: str) -> Request[None]:
    """DELETE /batches/{id}. A repetition finds no batch."""
    return Request(
        method="DELETE",
        path=f"/batches/{_part(batch_id)}",
        expected=frozenset({204}),
        repeatable=False,
        read=lambda _: None,
    )


def list_models() -> Request[tuple[Model, ...]]:
    """GET /models."""
    read = reader_of(ModelPage)
    return Request(method="GET", path="/models", read=lambda answer: read(answer).data)


def list_workers() -> Request[tuple[Worker, ...]]:
    """GET /workers."""
    read = reader_of(WorkerPage)
    return Request(method="GET", path="/workers", read=lambda answer: read(answer).data)


def health() -> Request[Health]:
    """GET /health."""
    return Request(method="GET", path="/health", read=reader_of(Health))


def ready() -> Request[Readiness]:
    """GET /ready; a service that is not ready is a valid response, not an error."""
    return Request(
        method="GET", path="/ready", expected=frozenset({200, 503}), read=_read_readiness
    )


def reader_of(record: type[R]) -> Callable[[Answer], R]:
    """Build the function that reads a record from a response."""

    def read(answer: Answer) -> R:
        try:
            return record.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"The answer is not that of a Promptmill service: {first_of(error)}"
            ) from None

    return read


def read_submitted(answer: Answer) -> AcceptedBatch:
    """Read the batch of a submission, created now or earlier with the same key."""
    batch = reader_of(AcceptedBatch)(answer)
    is_replay = answer.headers.get("idempotent-replayed") == "true"
    return batch.as_replay() if is_replay else batch


def line_reader_of(record: type[R], what: str) -> Callable[[bytes], R]:
    """Build the function that reads a record from a line of a downloaded NDJSON stream.

    It raises `UnexpectedAnswer`, in which `what` names the stream, for a line that is not a record.
    """

    def read(line: bytes) -> R:
        try:
            return record.model_validate_json(line)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"A line of the {what} cannot be read: {first_of(error)}"
            ) from None

    return read


read_result_line = line_reader_of(Result, "results")
"""Reads a result from a line of a downloaded NDJSON stream."""

_JSON_OBJECT: Final = TypeAdapter(dict[str, Any])


def _read_readiness(answer: Answer) -> Readiness:
    try:
        detail = _JSON_OBJECT.validate_json(answer.content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"The answer is not that of a Promptmill service: {first_of(error)}"
        ) from None
    return Readiness(is_ready=answer.status == 200, detail=detail)  # noqa: PLR2004 - HTTP's OK


def first_of(error: ValidationError) -> str:
    """Describe the first error of a response that does not validate."""
    details = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    return f"{place}: {details['msg']}" if place else details["msg"]


def _part(text: str) -> str:
    return quote(text, safe="")


def query_of(**fields: str | None) -> tuple[tuple[str, str], ...]:
    """Build the pairs of a query, without those that are None."""
    return tuple((name, value) for name, value in fields.items() if value is not None)
