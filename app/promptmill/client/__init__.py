"""Client library of Promptmill: batches and benchmarks are submitted, watched and read.

`Promptmill` for ordinary code, `AsyncPromptmill` for asyncio. It needs httpx and
pydantic and nothing else of this distribution.
"""

from promptmill.client._async.benchmarks import AsyncBenchmarks
from promptmill.client._async.client import AsyncPromptmill
from promptmill.client._async.results import AsyncResults
from promptmill.client._sync.benchmarks import Benchmarks
from promptmill.client._sync.client import Promptmill
from promptmill.client._sync.results import Results
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
from promptmill.client.requests.batches import BatchFields, DownloadFormat, Readiness
from promptmill.client.requests.benchmarks import BenchmarkFields, ReportFormat
from promptmill.client.requests.filters import ResultFilters
from promptmill.client.requests.prompts import Prompt
from promptmill.client.requests.steering import BatchChanges
from promptmill.client.requests.submission import SubmitFields
from promptmill.contract.activity import (
    RecentOutcomes,
    Throughput,
    ThroughputPoint,
    ThroughputSeries,
)
from promptmill.contract.batches import (
    AcceptedBatch,
    Batch,
    BatchPage,
    BatchSummary,
    Counts,
    Pull,
    Usage,
    WaitingFor,
)
from promptmill.contract.benchmark_findings import (
    ChunkIntervals,
    ComparedMeasure,
    Difference,
    NotComparable,
    RunPage,
)
from promptmill.contract.benchmark_findings import Comparison as BenchmarkComparison
from promptmill.contract.benchmark_findings import Run as BenchmarkRun
from promptmill.contract.benchmarks import (
    Benchmark,
    BenchmarkPage,
    BenchmarkSummary,
    ColdLoad,
    Distribution,
    Interval,
    LatencyParts,
    ModelEnvironment,
)
from promptmill.contract.benchmarks import Environment as BenchmarkEnvironment
from promptmill.contract.benchmarks import Level as BenchmarkLevel
from promptmill.contract.benchmarks import ModelResult as BenchmarkResult
from promptmill.contract.benchmarks import RunCounts as BenchmarkCounts
from promptmill.contract.dry_run import DryRun
from promptmill.contract.hosts import Host, LoadedModel, Quarantine
from promptmill.contract.reading import (
    Cause,
    EarlierAttempt,
    HistoryEntry,
    HostLoad,
    Percentiles,
    Point,
    Stats,
    Summary,
    WaitingPrompt,
    WholePrompt,
)
from promptmill.contract.record import ENDED_STATUSES
from promptmill.contract.results import Result, ResultPage
from promptmill.contract.service import Health, Model, RecommendedLimits, Worker
from promptmill.contract.settings import DatabaseFacts, Installation, Setting

__all__ = [
    "ENDED_STATUSES",
    "AcceptedBatch",
    "AsyncBenchmarks",
    "AsyncPromptmill",
    "AsyncResults",
    "Batch",
    "BatchChanges",
    "BatchEvent",
    "BatchFields",
    "BatchPage",
    "BatchSummary",
    "Benchmark",
    "BenchmarkComparison",
    "BenchmarkCounts",
    "BenchmarkEnvironment",
    "BenchmarkFields",
    "BenchmarkLevel",
    "BenchmarkPage",
    "BenchmarkResult",
    "BenchmarkRun",
    "BenchmarkSummary",
    "Benchmarks",
    "Cause",
    "ChunkIntervals",
    "ColdLoad",
    "ComparedMeasure",
    "Counts",
    "DatabaseFacts",
    "Difference",
    "Distribution",
    "DownloadFormat",
    "DryRun",
    "EarlierAttempt",
    "EndEvent",
    "FieldError",
    "Health",
    "HistoryEntry",
    "Host",
    "HostLoad",
    "Installation",
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
    "RecentOutcomes",
    "RecommendedLimits",
    "ReportFormat",
    "Result",
    "ResultEvent",
    "ResultFilters",
    "ResultPage",
    "Results",
    "RunPage",
    "ServiceUnreachable",
    "Setting",
    "Sighting",
    "Stats",
    "SubmitFields",
    "Summary",
    "Throughput",
    "ThroughputPoint",
    "ThroughputSeries",
    "UnexpectedAnswer",
    "Usage",
    "WaitTimeout",
    "WaitingFor",
    "WaitingPrompt",
    "WholePrompt",
    "Worker",
]
