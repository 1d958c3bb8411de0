"""The base of every request model: nothing is converted, nothing unknown is let through."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """A part of a request: `"5"` is no number, true is no 1, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class ResponseModel(BaseModel):
    """A part of an answer; it documents what is written, and is not run for each answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
