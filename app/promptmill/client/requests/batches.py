"""The service's HTTP contract, written once: how each request is built and each answer read.

Nothing here does I/O. A function of this file returns a `Request`; whoever can send HTTP sends it
and hands the `Answer` to `Request.read`. `client._sync.client` and `client._async.client` do that.
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
    """Whether the service can work now."""

    is_ready: bool
    detail: dict[str, Any]
    """What the service said about each thing that it needs."""


T = TypeVar("T")
R = TypeVar("R", bound=Record)

DownloadFormat = Literal["ndjson", "csv"]

MEDIA_TYPES: Final[dict[DownloadFormat, str]] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}

HEARTBEAT_S: Final = 15.0
"""The longest that a stream of events is silent."""


class BatchFields(TypedDict, total=False):
    """What a batch may say beside its prompts; what is left out has the service's default."""

    model: str
    """Model for all prompts that name none."""
    kind: Literal["generate", "embed"]
    """`embed` for a vector of each text in place of an answer."""
    max_concurrent: int | Literal["auto"]
    """Most prompts of this batch running at one moment, 1 to 256; or the service finds out."""
    rate_limit_delay: float
    """Seconds between two request starts at least, 0 to 3600."""
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
    """Seconds after which prompts that have no answer yet end as `expired`."""
    max_failures: int | str | None
    """More failed prompts than that end the batch: a count, or a share such as `"20%"`."""
    auto_pull: bool
    """Whether models that no host has are pulled before the prompts start."""
    label: str
    """What you call the batch, 1 to 200 characters; need not be unique."""
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
    """Numbers of a vector, of a batch that embeds."""
    shift: bool
    logprobs: bool
    top_logprobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response, whole."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """A request that can be sent, and the way to read its answer."""

    method: str
    path: str
    """Below the service's base URL, quoted."""
    read: Callable[[Answer], T]
    """Makes the result of an answer whose status is in `expected`."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes | Iterable[bytes] | None = None
    """Blocks are made while they are sent."""
    expected: frozenset[int] = frozenset({200})
    repeatable: bool = True
    """Whether sending it a second time, not knowing what became of the first, does no harm."""
    sendable_once: bool = False
    """Whether the first sending uses the content up, so that there can be no second."""
    held_s: float = 0.0
    """Seconds that the service may hold the answer back."""


def submit_batch(
    prompts: Iterable[Prompt], fields: BatchFields, *, idempotency_key: str
) -> Request[AcceptedBatch]:
    """POST /batches.

    Raises:
        TypeError: `prompts` is a single text or no list, or one of them is neither a text nor an
            object.
        ValueError: There is no prompt, or something in it that JSON cannot say.
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
    """A key that nobody has used."""
    return str(uuid.uuid4())


def get_batch(batch_id: str, *, limit: int = 0, wait_s: float = 0.0) -> Request[Batch]:
    """GET /batches/{id}, with the first `limit` results.

    The service answers when the batch has ended, or after `wait_s` seconds.
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
    """GET /batches/{id}/results: one page."""
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
    """GET /batches/{id}/results as one stream of all results."""
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
    """GET /batches/{id}/events; 204 says that nothing happens any more after that event."""
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
    """GET /batches: one page, newest first."""
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
    """POST /batches/{id}/cancel. Sent twice, the second may be told that the batch has ended."""
    return Request(
        method="POST",
        path=f"/batches/{_part(batch_id)}/cancel",
        expected=frozenset({200, 202}),
        repeatable=False,
        read=reader_of(Batch),
    )


def delete_batch(batch_id: str) -> Request[None]:
    """DELETE /batches/{id}. Sent twice, the second finds nothing."""
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
    """GET /ready; that it is not ready is an answer, not an error."""
    return Request(
        method="GET", path="/ready", expected=frozenset({200, 503}), read=_read_readiness
    )


def reader_of(record: type[R]) -> Callable[[Answer], R]:
    """What reads such a record out of an answer."""

    def read(answer: Answer) -> R:
        try:
            return record.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"The answer is not what a Promptmill service says: {first_of(error)}"
            ) from None

    return read


def read_submitted(answer: Answer) -> AcceptedBatch:
    """The batch that a submission made, or that an earlier one with its key had made."""
    batch = reader_of(AcceptedBatch)(answer)
    is_replay = answer.headers.get("idempotent-replayed") == "true"
    return batch.as_replay() if is_replay else batch


def line_reader_of(record: type[R], what: str) -> Callable[[bytes], R]:
    """What reads such a record out of a line of a downloaded NDJSON stream of `what`.

    It raises `UnexpectedAnswer` for a line that is none.
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
"""One line of a downloaded NDJSON stream of results."""

_JSON_OBJECT: Final = TypeAdapter(dict[str, Any])


def _read_readiness(answer: Answer) -> Readiness:
    try:
        detail = _JSON_OBJECT.validate_json(answer.content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"The answer is not what a Promptmill service says: {first_of(error)}"
        ) from None
    return Readiness(is_ready=answer.status == 200, detail=detail)  # noqa: PLR2004 - HTTP's OK


def first_of(error: ValidationError) -> str:
    """The first thing that is wrong with what was received."""
    details = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    return f"{place}: {details['msg']}" if place else details["msg"]


def _part(text: str) -> str:
    return quote(text, safe="")


def query_of(**fields: str | None) -> tuple[tuple[str, str], ...]:
    """The pairs of a query, those that have a value."""
    return tuple((name, value) for name, value in fields.items() if value is not None)
