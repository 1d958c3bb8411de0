"""The client library of Promptmill: batches and benchmarks, submitted, watched and read.

`PromptmillClient` for ordinary code, `AsyncPromptmillClient` for asyncio. It needs httpx and
pydantic and nothing else of this distribution.
"""

from app.client.aio import AsyncPromptmillClient
from app.client.benchmark_records import (
    Benchmark,
    BenchmarkComparison,
    BenchmarkCounts,
    BenchmarkEnvironment,
    BenchmarkLevel,
    BenchmarkPage,
    BenchmarkResult,
    BenchmarkRun,
    ChunkIntervals,
    ColdLoad,
    ComparedMeasure,
    Difference,
    Distribution,
    Interval,
    LatencyParts,
    ModelEnvironment,
    NotComparable,
    RunPage,
)
from app.client.benchmark_requests import BenchmarkFields, ReportFormat
from app.client.benchmarks_aio import AsyncBenchmarks
from app.client.benchmarks_sync import Benchmarks
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
    Host,
    LoadedModel,
    Model,
    Pull,
    Quarantine,
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
    "AsyncBenchmarks",
    "AsyncPromptmillClient",
    "Batch",
    "BatchChanges",
    "BatchEvent",
    "BatchFields",
    "BatchPage",
    "Benchmark",
    "BenchmarkComparison",
    "BenchmarkCounts",
    "BenchmarkEnvironment",
    "BenchmarkFields",
    "BenchmarkLevel",
    "BenchmarkPage",
    "BenchmarkResult",
    "BenchmarkRun",
    "Benchmarks",
    "ChunkIntervals",
    "ColdLoad",
    "ComparedMeasure",
    "Counts",
    "Difference",
    "Distribution",
    "DownloadFormat",
    "DryRun",
    "EndEvent",
    "FieldError",
    "Health",
    "Host",
    "Interval",
    "LatencyParts",
    "LoadedModel",
    "Model",
    "ModelEnvironment",
    "NotComparable",
    "Outage",
    "ProgressEvent",
    "Prompt",
    "PromptmillClient",
    "PromptmillClientError",
    "PromptmillProblem",
    "Pull",
    "Quarantine",
    "Readiness",
    "RecommendedLimits",
    "ReportFormat",
    "Result",
    "ResultEvent",
    "ResultPage",
    "RunPage",
    "ServiceUnreachable",
    "Sighting",
    "UnexpectedAnswer",
    "Usage",
    "WaitTimeout",
    "Worker",
]
