"""The client library of Promptmill: submit batches, watch them, read their results.

`PromptmillClient` for ordinary code, `AsyncPromptmillClient` for asyncio. It needs httpx and
pydantic and nothing else of this distribution.
"""

from app.client.aio import AsyncPromptmillClient
from app.client.errors import (
    FieldError,
    PromptmillClientError,
    PromptmillProblem,
    ServiceUnreachable,
    UnexpectedAnswer,
    WaitTimeout,
)
from app.client.event_stream import BatchEvent, EndEvent, ProgressEvent, ResultEvent
from app.client.judgement import Outage, Sighting
from app.client.records import (
    ENDED_STATUSES,
    Batch,
    BatchPage,
    Counts,
    DryRun,
    Health,
    Model,
    Readiness,
    RecommendedLimits,
    Result,
    ResultPage,
    Usage,
    Worker,
)
from app.client.requests import BatchFields, DownloadFormat, Prompt
from app.client.steering import BatchChanges
from app.client.sync import PromptmillClient

__all__ = [
    "ENDED_STATUSES",
    "AsyncPromptmillClient",
    "Batch",
    "BatchChanges",
    "BatchEvent",
    "BatchFields",
    "BatchPage",
    "Counts",
    "DownloadFormat",
    "DryRun",
    "EndEvent",
    "FieldError",
    "Health",
    "Model",
    "Outage",
    "ProgressEvent",
    "Prompt",
    "PromptmillClient",
    "PromptmillClientError",
    "PromptmillProblem",
    "Readiness",
    "RecommendedLimits",
    "Result",
    "ResultEvent",
    "ResultPage",
    "ServiceUnreachable",
    "Sighting",
    "UnexpectedAnswer",
    "Usage",
    "WaitTimeout",
    "Worker",
]
