"""The client library of Promptmill: batches and benchmarks, submitted, watched and read.

`Promptmill` for ordinary code, `AsyncPromptmill` for asyncio. It needs httpx and
pydantic and nothing else of this distribution.
"""

from promptmill.client._async.benchmarks import AsyncBenchmarks
from promptmill.client._async.client import AsyncPromptmill
from promptmill.client._async.results import AsyncResults
from promptmill.client._sync.benchmarks import Benchmarks
from promptmill.client._sync.client import Promptmill
from promptmill.client._sync.results import Results
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
from promptmill.client.reading_records import (
    Cause,
    HostLoad,
    Percentiles,
    Point,
    Stats,
    Summary,
    WaitingPrompt,
    WholePrompt,
)
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
from promptmill.client.requests.filters import ResultFilters
from promptmill.client.requests.steering import BatchChanges
from promptmill.client.requests.submission import SubmitFields

__all__ = [
    "ENDED_STATUSES",
    "AsyncBenchmarks",
    "AsyncPromptmill",
    "AsyncResults",
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
    "Cause",
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
    "HostLoad",
    "Interval",
    "LatencyParts",
    "LoadedModel",
    "Model",
    "ModelEnvironment",
    "NotComparable",
    "Outage",
    "Percentiles",
    "Point",
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
    "ResultFilters",
    "ResultPage",
    "Results",
    "RunPage",
    "ServiceUnreachable",
    "Sighting",
    "Stats",
    "SubmitFields",
    "Summary",
    "UnexpectedAnswer",
    "Usage",
    "WaitTimeout",
    "WaitingFor",
    "WaitingPrompt",
    "WholePrompt",
    "Worker",
]
