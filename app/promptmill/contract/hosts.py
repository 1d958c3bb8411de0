"""Ollama hosts as clients see them."""

from __future__ import annotations

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.record import ErrorWord, Record


class LoadedModel(Record):
    """A model in a host's memory."""

    name: str = Field(description="Its name.", examples=["qwen3:8b"])
    size: int = Field(
        ge=0, description="Bytes that it takes, in all memory.", examples=[6481043456]
    )
    size_vram: int = Field(
        ge=0, description="Bytes of these on graphics cards.", examples=[6481043456]
    )
    context_length: int | None = Field(
        description="Tokens of the window that it was loaded with.", examples=[4096]
    )


class Quarantine(Record):
    """Why no work goes to a host for the moment."""

    next_look_s: float = Field(
        ge=0, description="Seconds until it is looked at again.", examples=[3.2]
    )
    error_code: ErrorWord = Field(
        description="What went wrong, as in results.", examples=["host_unreachable"]
    )
    reason: str = Field(
        description="The same as a sentence.", examples=[examples.HOST_DOWN["error"]]
    )


class Host(Record):
    """An Ollama host of the service's settings, or of another machine that has a worker."""

    id: str | None = Field(
        description="Its name for `PATCH /hosts/{host_id}`; null until a worker knows it.",
        examples=["host_1"],
    )
    url: str = Field(description="Its address.", examples=["http://gpu-1:11434"])
    machine: str | None = Field(
        description="The machine that the address is of: of a loopback address, or"
        " host.docker.internal, each machine has a host of its own. Null: it is of the network.",
        examples=[None, "9f86d081884c"],
    )
    enabled: bool = Field(
        description="Whether it is in service; false: somebody took it out, what runs there may"
        " end and nothing more is started, by any worker.",
        examples=[True],
    )
    reachable: bool = Field(
        description="Whether it told its version within two seconds, just now; a host of another"
        " machine is not asked, then it says whether one of its workers sends work there.",
        examples=[True],
    )
    error: str | None = Field(
        description="Why it did not.", examples=[None, examples.HOST_DOWN["error"]]
    )
    version: str | None = Field(
        description="Its version of Ollama, as last seen.", examples=["0.24.0"]
    )
    slots: int | None = Field(
        description="Most calls in flight there, over all batches and workers; null: only the"
        " batches' own limits hold.",
        examples=[4, None],
    )
    in_flight: int = Field(
        ge=0, description="Prompts of batches that run there, over all workers.", examples=[3]
    )
    held_by: str | None = Field(
        description="The benchmark that has it to itself; no prompt starts there meanwhile.",
        examples=[None],
    )
    models: int | None = Field(
        description="Installed models that it may be asked for; null: it never said.", examples=[12]
    )
    only_models: tuple[str, ...] | None = Field(
        description="The only models that the settings let it be asked for; null: any.",
        examples=[None, ["qwen3:8b"]],
    )
    loaded_models: tuple[LoadedModel, ...] | None = Field(
        description="What it has in memory; null: it never said.",
        examples=[examples.HOST["loaded_models"]],
    )
    loaded_models_age_s: float | None = Field(
        description="How old that is, in seconds: Ollama may not tell while a model is loading, and"
        " then the last sight of it stands.",
        examples=[0.0],
    )
    groups: tuple[str, ...] = Field(
        description="What it works on now, model and load options; empty when that is not known.",
        examples=[[]],
    )
    quarantine: Quarantine | None = Field(
        description="Why one worker at least sends no work there for the moment, others may; of"
        " several reasons that of the one who looks again first. Null when every worker does, and"
        " when none lives.",
        examples=[None, examples.HOST_DOWN["quarantine"]],
    )
    on_trial: bool | None = Field(
        description="Whether it came back to one of the workers, and no call of that one has gone"
        " through since; null when none lives.",
        examples=[False],
    )
    calls: int | None = Field(
        description="Calls of all workers that live that ended, since the start of each; those of"
        " other processes as of their last heartbeat. Null when no worker lives.",
        examples=[1319],
    )
    failed: int | None = Field(
        description="Those of them that gave no answer, and not for a reason of the prompt's own.",
        examples=[2],
    )
    latency_s: float | None = Field(
        description="Median seconds of the last 64 that gave an answer; of several workers the"
        " median of what each has.",
        examples=[0.514],
    )


class HostPage(Record):
    """All hosts."""

    data: tuple[Host, ...] = Field(
        description="The hosts, in the order of the settings; then those of other machines.",
        examples=[[examples.HOST, examples.HOST_DOWN]],
    )
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])
