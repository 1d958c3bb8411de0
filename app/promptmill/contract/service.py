"""The service itself as clients see it: models, health, readiness, problems."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.record import OneOf, Record, Time


class RecommendedLimits(Record):
    """Limits of a batch that suit the model's size."""

    max_concurrent: int = Field(ge=1, description="For `max_concurrent`.", examples=[5])
    rate_limit_delay: float = Field(ge=0, description="For `rate_limit_delay`.", examples=[0.1])


class Model(Record):
    """A model that an Ollama host has installed."""

    name: str = Field(description="Name to ask for it by.", examples=["qwen3:8b"])
    size: int | None = Field(description="Bytes on disk.", examples=[5225388164])
    digest: str | None = Field(
        description="Digest of its manifest; a name may come to mean another model.",
        examples=[examples.MODEL["digest"]],
    )
    family: str | None = Field(description="Architecture.", examples=["qwen3"])
    parameter_size: str | None = Field(description="Number of parameters.", examples=["8.2B"])
    quantization_level: str | None = Field(
        description="How its weights are stored.", examples=["Q4_K_M"]
    )
    hosts: tuple[str, ...] = Field(
        description="Hosts that have it. Where they disagree about what a name means, each digest"
        " is an entry of its own.",
        examples=[["http://127.0.0.1:11434"]],
    )
    loaded_on: tuple[str, ...] = Field(
        description="Hosts that have it in memory now.", examples=[["http://127.0.0.1:11434"]]
    )
    recommended: RecommendedLimits = Field(
        description="Limits that suit its size.", examples=[examples.MODEL["recommended"]]
    )


class ModelPage(Record):
    """All installed models of the hosts that answer."""

    data: tuple[Model, ...] = Field(description="The models.", examples=[[examples.MODEL]])
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])


class Worker(Record):
    """A process that works off the queue, or has."""

    id: str = Field(description="Its name, also in the log.", examples=[examples.WORKER["id"]])
    host_name: str = Field(description="The machine that it runs on.", examples=["gpu-box"])
    pid: int = Field(description="Its process id there.", examples=[4711])
    version: str = Field(description="Its version of Promptmill.", examples=["0.1.0"])
    concurrency: int = Field(ge=1, description="Most calls that it has in flight.", examples=[256])
    alive: bool = Field(
        description="Whether it has not stopped and was seen within the lease.", examples=[True]
    )
    state: Annotated[str, OneOf(Literal["alive", "stopped", "lost"])] = Field(
        description="`stopped`: by itself; `lost`: silent for longer than the lease, so its prompts"
        " went back to the queue.",
        examples=["alive"],
    )
    in_flight: int = Field(ge=0, description="Prompts that it runs now.", examples=[5])
    finished: int = Field(
        ge=0,
        description="Results that it has stored since its start, as of its last heartbeat.",
        examples=[1319],
    )
    fenced: int = Field(
        ge=0,
        description="Outcomes that it had to drop, because the prompts were no longer its own when"
        " they came: it had been paused or cut off.",
        examples=[0],
    )
    started_at: Time = Field(
        description="When it started.", examples=[examples.WORKER["started_at"]]
    )
    seen_at: Time = Field(description="Its last heartbeat.", examples=[examples.WORKER["seen_at"]])
    exchanged_at: Time = Field(
        description="When it last had nothing left to record or to claim, as of its last"
        " heartbeat. More than a lease before `seen_at`: it lives, and does not work.",
        examples=[examples.WORKER["exchanged_at"]],
    )
    stopped_at: Time | None = Field(
        description="When it stopped by itself.", examples=[examples.WORKER["seen_at"], None]
    )


class WorkerPage(Record):
    """The workers of the last day."""

    data: tuple[Worker, ...] = Field(
        description="The workers; those that have not stopped first, at most 1000.",
        examples=[[examples.WORKER]],
    )
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])


class Health(Record):
    """The process is alive."""

    status: Annotated[str, OneOf(Literal["ok"])] = Field(
        description="Always `ok`.", examples=["ok"]
    )
    version: str = Field(description="Version of the service.", examples=["0.1.0"])


class Readiness(Record):
    """The service can work."""

    status: Annotated[str, OneOf(Literal["ready"])] = Field(
        description="Always `ready`.", examples=["ready"]
    )
    missing: tuple[str, ...] = Field(
        description="Hosts that do not answer, a sentence each; others do their work meanwhile.",
        examples=[[], [examples.HOST_DOWN["error"]]],
    )


class ProblemEntry(Record):
    """One entry of a request that is wrong."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; `/query/...` is a query parameter,"
        " `/header/...` a header, the empty string the body as a whole.",
        examples=["/prompts/3"],
    )
    detail: str = Field(description="What is wrong and what to do.", examples=["must not be empty"])


class Problem(Record):
    """An error, as RFC 9457 writes it."""

    type: str = Field(
        description="The kind of problem, stable; an address of this service that explains it.",
        examples=["/problems/invalid-request"],
    )
    title: str = Field(description="The kind in words.", examples=["The request is not valid"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What happened this time.", examples=["One entry is wrong."])
    instance: str = Field(description="The path that was asked.", examples=["/batches"])
    request_id: str | None = Field(
        description="The request's id, as in `X-Request-ID` and in the log.",
        examples=[examples.REQUEST_ID],
    )
    errors: tuple[ProblemEntry, ...] = Field(
        default=(),
        description="Every entry that is wrong, up to 100; only with status 422.",
        examples=[[{"pointer": "/prompts/3", "detail": "must not be empty"}]],
    )
