"""Record of a dry run: a batch that is checked and described, but not stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from promptmill.contract.record import Count, OneOf, Record

Unchecked = Annotated[
    tuple[str, ...],
    Field(
        description="Rules of a `format` that answers are not checked against: regular expressions"
        " with look-around or back-references. One sentence each, the first 20.",
        examples=[[]],
    ),
]


class DryRun(Record):
    """A batch that would be accepted now, with the values that would apply."""

    object: Literal["batch.dry_run"] = Field(
        description="Always `batch.dry_run`.", examples=["batch.dry_run"]
    )
    valid: Literal[True] = Field(
        description="Always true: an invalid batch gets a problem as response.", examples=[True]
    )
    prompts: int = Field(ge=1, description="Number of prompts.", examples=[3])
    models: tuple[str, ...] = Field(
        description="Models that the prompts use, as the host spells them; as sent if `auto_pull`"
        " allows a model to be missing.",
        examples=[["llama3.2:3b", "qwen3:8b"]],
    )
    model: str = Field(
        description="Model of prompts without a model of their own.", examples=["qwen3:8b"]
    )
    kind: Annotated[str, OneOf(Literal["generate", "embed"])] = Field(
        description="Whether the prompts are answered or embedded.", examples=["generate"]
    )
    max_concurrent: int = Field(description="Most prompts running at one moment.", examples=[5])
    auto_concurrency: bool = Field(
        description="Whether `max_concurrent` is only the start value (`max_concurrent: auto`).",
        examples=[False],
    )
    rate_limit_delay: float = Field(description="Least seconds between starts.", examples=[0.1])
    at_least_s: float = Field(
        ge=0,
        description="Least seconds that the starts take, one every `rate_limit_delay`.",
        examples=[0.2],
    )
    timeout_s: float = Field(description="Seconds that one attempt may take.", examples=[300.0])
    max_attempts: int = Field(description="Attempts for each prompt.", examples=[3])
    priority: int = Field(description="Higher goes first.", examples=[0])
    expires_in_s: float | None = Field(
        description="Seconds after which prompts without an outcome expire; null: never.",
        examples=[None],
    )
    max_failures: int | str | None = Field(
        description="Most prompts that may fail before the batch ends; null: any number.",
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
        description="Fields for Ollama that apply to every prompt.",
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
"""Worked example of a dry run."""
