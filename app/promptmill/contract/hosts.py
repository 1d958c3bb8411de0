"""Records of Ollama hosts."""

from __future__ import annotations

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.record import ErrorWord, Record


class LoadedModel(Record):
    """A model that a host has loaded."""

    name: str = Field(description="Its name.", examples=["qwen3:8b"])
    size: int = Field(
        ge=0, description="Bytes of memory, graphics cards included.", examples=[6481043456]
    )
    size_vram: int = Field(
        ge=0, description="Bytes of these on graphics cards.", examples=[6481043456]
    )
    context_length: int | None = Field(
        description="Tokens of the window that it was loaded with.", examples=[4096]
    )


class Quarantine(Record):
    """Reason why no work goes to a host now."""

    next_look_s: float = Field(
        ge=0, description="Seconds until the host is tried again.", examples=[3.2]
    )
    error_code: ErrorWord = Field(
        description="Error code of the cause, as in results.", examples=["host_unreachable"]
    )
    reason: str = Field(
        description="The cause as a sentence.", examples=[examples.HOST_DOWN["error"]]
    )


class Host(Record):
    """Ollama host of the service's settings, or of another machine that has a worker."""

    id: str | None = Field(
        description="Id for `PATCH /hosts/{host_id}`; null until a worker has registered the host.",
        examples=["host_1"],
    )
    url: str = Field(description="Its address.", examples=["http://gpu-1:11434"])
    machine: str | None = Field(
        description="Machine of a loopback address or host.docker.internal, which stands for"
        " another host on each machine; null: an address of the network.",
        examples=[None, "9f86d081884c"],
    )
    enabled: bool = Field(
        description="Whether the host is in service; false: it was taken out, so that running calls"
        " may end and no worker starts more.",
        examples=[True],
    )
    reachable: bool = Field(
        description="Whether the host answered a request for its version within two seconds, just"
        " now; for a host of another machine, whether a worker there sends work to it.",
        examples=[True],
    )
    error: str | None = Field(
        description="Why the host is not reachable.", examples=[None, examples.HOST_DOWN["error"]]
    )
    version: str | None = Field(description="Version of Ollama, as last seen.", examples=["0.24.0"])
    slots: int | None = Field(
        description="Most calls in flight there, over all batches and workers; null: only the"
        " batches' own limits hold.",
        examples=[4, None],
    )
    in_flight: int = Field(
        ge=0, description="Prompts of batches that run at the host, over all workers.", examples=[3]
    )
    held_by: str | None = Field(
        description="Benchmark that has the host to itself; no prompt starts there meanwhile.",
        examples=[None],
    )
    models: int | None = Field(
        description="Number of installed models that the settings allow; null: unknown.",
        examples=[12],
    )
    only_models: tuple[str, ...] | None = Field(
        description="Models that the settings allow at the host; null: all.",
        examples=[None, ["qwen3:8b"]],
    )
    loaded_models: tuple[LoadedModel, ...] | None = Field(
        description="Loaded models; null: unknown.",
        examples=[examples.HOST["loaded_models"]],
    )
    loaded_models_age_s: float | None = Field(
        description="Age of `loaded_models` in seconds; Ollama may not report while a model is"
        " loading, so that the last report stays.",
        examples=[0.0],
    )
    groups: tuple[str, ...] = Field(
        description="Load groups that the host runs, as model and load options; empty if unknown.",
        examples=[[]],
    )
    quarantine: Quarantine | None = Field(
        description="Why at least one worker sends no work to the host now, although others may; of"
        " several reasons, that of the worker that tries again first. Null if every worker"
        " sends work, or no worker is alive.",
        examples=[None, examples.HOST_DOWN["quarantine"]],
    )
    on_trial: bool | None = Field(
        description="Whether the host has left the quarantine of a worker and no call of that"
        " worker has succeeded since; null if no worker is alive.",
        examples=[False],
    )
    calls: int | None = Field(
        description="Ended calls of all workers that are alive, since the start of each; of other"
        " processes as of their last heartbeat. Null if no worker is alive.",
        examples=[1319],
    )
    failed: int | None = Field(
        description="Ended calls without an answer, except those that failed because of the"
        " prompt.",
        examples=[2],
    )
    latency_s: float | None = Field(
        description="Median seconds of the last 64 calls with an answer; with several workers the"
        " median of their medians.",
        examples=[0.514],
    )


class HostPage(Record):
    """All hosts."""

    data: tuple[Host, ...] = Field(
        description="The hosts, in the order of the settings; then those of other machines.",
        examples=[[examples.HOST, examples.HOST_DOWN]],
    )
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])
