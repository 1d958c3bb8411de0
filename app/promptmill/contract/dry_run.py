"""What a batch would be, told without storing it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from promptmill.contract.record import Count, OneOf, Record

Unchecked = Annotated[
    tuple[str, ...],
    Field(
        description="What answers will not be checked for, although a `format` asks for it: regular"
        " expressions with look-around or back-references. A sentence each, the first 20.",
        examples=[[]],
    ),
]


class DryRun(Record):
    """A request for a batch that would be accepted now, with the values that would hold."""

    object: Literal["batch.dry_run"] = Field(
        description="Always `batch.dry_run`.", examples=["batch.dry_run"]
    )
    valid: Literal[True] = Field(
        description="Always true: what is not valid is answered with a problem.", examples=[True]
    )
    prompts: int = Field(ge=1, description="How many prompts it has.", examples=[3])
    models: tuple[str, ...] = Field(
        description="The models that its prompts use: as the host spells them, and as they were"
        " sent where `auto_pull` lets one be missing.",
        examples=[["llama3.2:3b", "qwen3:8b"]],
    )
    model: str = Field(description="Model of the prompts that name none.", examples=["qwen3:8b"])
    kind: Annotated[str, OneOf(Literal["generate", "embed"])] = Field(
        description="Whether the prompts are answered or embedded.", examples=["generate"]
    )
    max_concurrent: int = Field(description="Most prompts running at one moment.", examples=[5])
    auto_concurrency: bool = Field(
        description="Whether that is only where it starts (`max_concurrent: auto`).",
        examples=[False],
    )
    rate_limit_delay: float = Field(description="Least seconds between starts.", examples=[0.1])
    at_least_s: float = Field(
        ge=0,
        description="Seconds that its starts alone take, at one every `rate_limit_delay`.",
        examples=[0.2],
    )
    timeout_s: float = Field(description="Seconds that one attempt may take.", examples=[300.0])
    max_attempts: int = Field(description="Attempts for each prompt.", examples=[3])
    priority: int = Field(description="Higher goes first.", examples=[0])
    expires_in_s: float | None = Field(
        description="Seconds after which prompts that have not started expire; null: never.",
        examples=[None],
    )
    max_failures: int | str | None = Field(
        description="More failed prompts than that end the batch; null: none do.",
        examples=[None],
    )
    fail_on: tuple[str, ...] = Field(
        description="Defects of an answer that make it a failure.",
        examples=[["empty", "invalid_json", "schema_mismatch"]],
    )
    auto_pull: bool = Field(
        description="Whether models that no host has are pulled before its prompts start.",
        examples=[False],
    )
    label: str | None = Field(description="As sent.", examples=["colours, first try"])
    metadata: dict[str, str] = Field(
        description="Your pairs, as sent.", examples=[{"project": "colours"}]
    )
    parameters: dict[str, Any] = Field(
        description="Fields of Ollama's request that hold for every prompt.",
        examples=[{"options": {"temperature": 0}}],
    )
    queued_prompts: Count = Field(
        description="Prompts of other batches that have no outcome yet.", examples=[0]
    )
    unchecked: Unchecked


DRY_RUN: dict[str, Any] = {
    "object": "batch.dry_run",
    "valid": True,
    "prompts": 3,
    "models": ["llama3.2:3b", "qwen3:8b"],
    "model": "qwen3:8b",
    "kind": "generate",
    "max_concurrent": 5,
    "auto_concurrency": False,
    "rate_limit_delay": 0.1,
    "at_least_s": 0.2,
    "timeout_s": 300.0,
    "max_attempts": 3,
    "priority": 0,
    "expires_in_s": None,
    "max_failures": None,
    "fail_on": ["empty", "invalid_json", "schema_mismatch"],
    "auto_pull": False,
    "label": "colours, first try",
    "metadata": {"project": "colours"},
    "parameters": {"options": {"temperature": 0}},
    "queued_prompts": 0,
    "unchecked": [],
}
"""A worked example."""
