"""Records of the service: models, workers, health, readiness, problems."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.record import OneOf, Record, Time


class RecommendedLimits(Record):
    """Limits of a batch that suit a model's size."""

    max_concurrent: int = Field(ge=1, description="For `max_concurrent`.", examples=[5])
    rate_limit_delay: float = Field(ge=0, description="For `rate_limit_delay`.", examples=[0.1])


class Model(Record):
    """Model that an Ollama host has installed."""

    name: str = Field(description="Name of the model in requests.", examples=["qwen3:8b"])
    size: int | None = Field(description="Bytes on disk.", examples=[5225388164])
    digest: str | None = Field(
        description="Digest of the manifest; the same name may later stand for another model.",
        examples=[examples.MODEL["digest"]],
    )
    family: str | None = Field(description="Architecture.", examples=["qwen3"])
    parameter_size: str | None = Field(description="Number of parameters.", examples=["8.2B"])
    quantization_level: str | None = Field(
        description="Quantization of the weights.", examples=["Q4_K_M"]
    )
    hosts: tuple[str, ...] = Field(
        description="Hosts that have the model installed. If a name has several digests, each"
        " digest is a separate entry.",
        examples=[["http://127.0.0.1:11434"]],
    )
    loaded_on: tuple[str, ...] = Field(
        description="Hosts that have the model loaded.", examples=[["http://127.0.0.1:11434"]]
    )
    recommended: RecommendedLimits = Field(
        description="Limits that suit the model's size.", examples=[examples.MODEL["recommended"]]
    )


class ModelPage(Record):
    """Installed models of all reachable hosts."""

    data: tuple[Model, ...] = Field(description="The models.", examples=[[examples.MODEL]])
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])


class Worker(Record):
    """Worker process, running or ended."""

    id: str = Field(
        description="Name of the worker, also in the log.", examples=[examples.WORKER["id"]]
    )
    host_name: str = Field(description="Host name of the worker's machine.", examples=["gpu-box"])
    pid: int = Field(description="Process id on that machine.", examples=[4711])
    version: str = Field(description="Version of Promptmill.", examples=["0.1.0"])
    concurrency: int = Field(ge=1, description="Most calls in flight at a time.", examples=[256])
    alive: bool = Field(
        description="Whether the worker has not stopped and was seen within `lease_s`.",
        examples=[True],
    )
    state: Annotated[str, OneOf(Literal["alive", "stopped", "lost"])] = Field(
        description="`stopped`: shut down in order; `lost`: silent for longer than `lease_s`, so"
        " that its prompts went back to the queue.",
        examples=["alive"],
    )
    in_flight: int = Field(ge=0, description="Prompts that the worker runs now.", examples=[5])
    finished: int = Field(
        ge=0,
        description="Results stored since the worker's start, as of its last heartbeat.",
        examples=[1319],
    )
    fenced: int = Field(
        ge=0,
        description="Outcomes dropped because the worker, paused or cut off, had lost the leases of"
        " the prompts.",
        examples=[0],
    )
    started_at: Time = Field(
        description="When it started.", examples=[examples.WORKER["started_at"]]
    )
    seen_at: Time = Field(description="Its last heartbeat.", examples=[examples.WORKER["seen_at"]])
    exchanged_at: Time = Field(
        description="When the worker last finished recording and claiming, as of its last"
        " heartbeat. If that is more than `lease_s` before `seen_at`, the worker is alive but"
        " stuck.",
        examples=[examples.WORKER["exchanged_at"]],
    )
    stopped_at: Time | None = Field(
        description="When the worker stopped.", examples=[examples.WORKER["seen_at"], None]
    )


class WorkerPage(Record):
    """Workers of the last day."""

    data: tuple[Worker, ...] = Field(
        description="Workers, running ones first, at most 1000.",
        examples=[[examples.WORKER]],
    )
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])


class Health(Record):
    """Response of a live process."""

    status: Annotated[str, OneOf(Literal["ok"])] = Field(
        description="Always `ok`.", examples=["ok"]
    )
    version: str = Field(description="Version of the service.", examples=["0.1.0"])


class Readiness(Record):
    """Response of a service that can work."""

    status: Annotated[str, OneOf(Literal["ready"])] = Field(
        description="Always `ready`.", examples=["ready"]
    )
    missing: tuple[str, ...] = Field(
        description="Hosts that do not respond, one sentence each; other hosts work meanwhile.",
        examples=[[], [examples.HOST_DOWN["error"]]],
    )


class ProblemEntry(Record):
    """Error in one part of a request."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; `/query/...` is a query parameter,"
        " `/header/...` a header, the empty string the body as a whole.",
        examples=["/prompts/3"],
    )
    detail: str = Field(
        description="What is wrong and how to fix it.", examples=["must not be empty"]
    )


class Problem(Record):
    """Error response, as RFC 9457 defines it."""

    type: str = Field(
        description="Kind of problem, stable: the address of this service's explanation.",
        examples=["/problems/invalid-request"],
    )
    title: str = Field(
        description="Kind of problem in words.", examples=["The request is not valid"]
    )
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What happened this time.", examples=["One entry is wrong."])
    instance: str = Field(description="Path of the request.", examples=["/batches"])
    request_id: str | None = Field(
        description="Id of the request, as in `X-Request-ID` and in the log.",
        examples=[examples.REQUEST_ID],
    )
    errors: tuple[ProblemEntry, ...] = Field(
        default=(),
        description="Every error of the request, up to 100; only with status 422.",
        examples=[[{"pointer": "/prompts/3", "detail": "must not be empty"}]],
    )
