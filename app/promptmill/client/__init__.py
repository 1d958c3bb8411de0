"""The client library of Promptmill: batches and benchmarks, submitted, watched and read.

`Promptmill` for ordinary code, `AsyncPromptmill` for asyncio. It needs httpx and
pydantic and nothing else of this distribution.
"""

from promptmill.client._async.benchmarks import AsyncBenchmarks
from promptmill.client._async.client import AsyncPromptmill
from promptmill.client._sync.benchmarks import Benchmarks
from promptmill.client._sync.client import Promptmill
from promptmill.client.benchmark_records import (
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
from promptmill.client.errors import (
    FieldError,
    PromptmillError,
    PromptmillProblem,
    ServiceUnreachable,
    UnexpectedAnswer,
    WaitTimeout,
)
from promptmill.client.event_stream import BatchEvent, EndEvent, ProgressEvent, ResultEvent
from promptmill.client.judgement import Outage, Sighting
from promptmill.client.records import (
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
    WaitingFor,
    Worker,
)
from promptmill.client.requests.batches import BatchFields, DownloadFormat, Prompt
from promptmill.client.requests.benchmarks import BenchmarkFields, ReportFormat
from promptmill.client.requests.steering import BatchChanges

__all__ = [
    "ENDED_STATUSES",
    "AsyncBenchmarks",
    "AsyncPromptmill",
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
    "Promptmill",
    "PromptmillError",
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
    "WaitingFor",
    "Worker",
]
