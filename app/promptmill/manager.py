"""`OllamaManager`: batches and small benchmarks in this process, without service or database.

The manager keeps the limits of the service (`domain.limits`), calls Ollama through the same client
and classifies failures by the same table. Unlike the service, it keeps results only as long as the
process lives, and retries nothing. The examples in `docs/python-api.md` are run as tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import statistics
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from anyio.from_thread import start_blocking_portal
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from promptmill import json_values
from promptmill.display.progress import Display, display_here
from promptmill.domain.benchmarks.flags import is_rate_impossible
from promptmill.domain.benchmarks.records import Flag
from promptmill.domain.calls import Call
from promptmill.domain.hosts.address import parse_ollama_host
from promptmill.domain.hosts.credentials import credentials_of
from promptmill.domain.limits import Limits, next_start_at_ms
from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Failed, Outcome, Succeeded
from promptmill.domain.requests.arguments import (
    check_count,
    check_name,
    check_not_empty,
    check_prompt,
    seconds_of,
    texts_of,
)
from promptmill.domain.requests.fields import check_generate_fields
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.transport import tls_for

DEFAULT_MODEL = "qwen3:8b"
"""Model of a batch that names no model."""
DEFAULT_BENCHMARK_PROMPT = "Hello, how are you?"
"""Prompt of a benchmark that is given no prompt."""

RECOMMENDED_MODELS = {
    "fast": "llama3.2:3b",
    "balanced": "qwen3:8b",
    "quality": "qwen3:32b",
    "embeddings": "nomic-embed-text",
    "vision": "llama3.2-vision:11b",
    "edge": "gemma3:1b",
    "multilingual": "aya-expanse:8b",
    "coding": "qwen2.5-coder:7b",
}
"""Models of Ollama's library, by the kind of work that each suits."""

T = TypeVar("T")

_CONNECT_S = 5.0
_NANO = 1_000_000_000


class OllamaManager:
    """Batches and benchmarks against one Ollama server.

    The coroutines open connections of their own, so one manager serves several `asyncio.run` calls;
    the plain functions need no event loop and may be called inside a running one, which they block.
    No function raises an error because the server is down: its result holds the failure.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:11434",
        timeout: float = 30,
        *,
        api_key: str | None = None,
        basic_auth: str | None = None,
    ) -> None:
        """Store the parameters; no request is sent.

        Args:
            base_url: The server, in any form that Ollama's own clients take (`host:port`, ...).
            timeout: Seconds that one prompt may take, from sending to the end of its answer.
            api_key: Sent as `Authorization: Bearer ...`, to a proxy that asks for one.
            basic_auth: `NAME:PASSWORD`, sent as `Authorization: Basic ...`, likewise.

        Raises:
            TypeError: `base_url` is not a string, or `timeout` is not a number.
            ValueError: `base_url` is not an address, `timeout` is not above zero, `api_key` or
                `basic_auth` is malformed, or the certificates of SSL_CERT_FILE cannot be read.
        """
        if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"base_url must be a string, not {type(base_url).__name__}")
        self.base_url = parse_ollama_host(base_url)
        self.timeout = seconds_of("timeout", timeout)
        if not self.timeout:
            raise ValueError("timeout must be above 0 seconds")
        self._credentials = credentials_of(api_key, basic_auth)
        tls_for(self.base_url)  # Unreadable certificates raise here and not at the first call.

    async def batch_generate(
        self,
        prompts: Iterable[str],
        model: str = DEFAULT_MODEL,
        max_concurrent: int = 5,
        rate_limit_delay: float = 0.1,
        *,
        progress: bool = False,
        **generate_kwargs: Any,  # noqa: ANN401 - whatever Ollama takes
    ) -> list[dict[str, Any]]:
        """Send every prompt to one model; the results are in the order of the prompts.

        A prompt that fails does not stop the others: its result has `success` False and `error`.

        Args:
            prompts: Any number, also none.
            model: Name of an installed model.
            max_concurrent: Most prompts under way at a time. More than the server's
                `OLLAMA_NUM_PARALLEL` only moves the waiting to the server.
            rate_limit_delay: Least seconds between the starts of two prompts. It is the pace of
                starts and not a pause of each slot, so it costs nothing while answers take longer.
            progress: Whether to show progress: a bar in a notebook or on a terminal, lines on
                stderr elsewhere.
            generate_kwargs: Further fields of Ollama's request, as they are: `system`, `options`,
                `format`, `think`, `keep_alive`, ... Unknown fields are refused.

        Returns:
            One dict per prompt: `prompt, response, model, success, error, eval_count` (tokens of
            the answer) and `eval_duration` (nanoseconds); unknown values are None.

        Raises:
            TypeError: A prompt is not a string, `prompts` is a string instead of a list, or Ollama
                has no such field or option.
            ValueError: A prompt is empty, a limit is out of range, or a number is not finite.
        """
        texts = texts_of("prompts", prompts)
        for index, text in enumerate(texts):
            check_not_empty(f"prompts[{index}]", text)
        check_generate_fields(generate_kwargs)
        fields = json_values.plain(generate_kwargs)
        json_values.check(texts, name="prompts")
        check_name("model", model)
        check_count("max_concurrent", max_concurrent)
        delay_s = seconds_of("rate_limit_delay", rate_limit_delay)
        limits = Limits(max_concurrent=int(max_concurrent), rate_limit_delay_s=delay_s)
        calls = [self._call(model, text, fields) for text in texts]
        with display_here() if progress else contextlib.nullcontext() as display:
            outcomes = await self._run_all(calls, limits, display)
        return [_result(call, outcome) for call, outcome in zip(calls, outcomes, strict=True)]

    async def batch_benchmark(
        self,
        models: Iterable[str],
        prompt: str = DEFAULT_BENCHMARK_PROMPT,
        num_runs: int = 3,
    ) -> dict[str, dict[str, Any]]:
        """Send one prompt to each model `num_runs` times, one request at a time.

        A model that fails has `error` and no figures; the others are unaffected.

        Returns:
            For each model `latency` (mean seconds of the successful runs), `tokens_per_sec` (sum
            of `eval_count` over sum of `eval_duration`; None where Ollama gives no duration, as for
            an answer of one token), `response` (of the last successful run), `num_runs`, `model`,
            `prompt` and `error`; and `flags` if the rate of a run is impossible, which
            `tokens_per_sec` leaves out.

        Raises:
            TypeError: A name or the prompt is not a string, or `models` is a string instead of a
                list.
            ValueError: A name or the prompt is empty, or `num_runs` is below one.
        """
        names = texts_of("models", models)
        for index, name in enumerate(names):
            check_name(f"models[{index}]", name)
        check_prompt(prompt)
        check_count("num_runs", num_runs)
        figures: dict[str, dict[str, Any]] = {}
        async with contextlib.aclosing(self._client()) as client:
            for name in names:
                call = self._call(name, prompt, {})
                figures[name] = _figures(call, [await client.run(call) for _ in range(num_runs)])
        return figures

    def benchmark_model(self, model: str, prompt: str = DEFAULT_BENCHMARK_PROMPT) -> dict[str, Any]:
        """Run one model once; the result has the fields of one model in `batch_benchmark`."""
        check_name("model", model)
        check_prompt(prompt)
        call = self._call(model, prompt, {})
        return _figures(call, [self._wait_for(lambda client: client.run(call))])

    def check_ollama_running(self) -> bool:
        """Whether the server responds as Ollama does."""
        try:
            self._wait_for(lambda client: client.version(within_s=self.timeout))
        except OllamaError:
            return False
        return True

    def list_models(self) -> list[str]:
        """Names of the installed models; an empty list when the server is down."""
        try:
            models = self._wait_for(lambda client: client.list_models(within_s=self.timeout))
        except OllamaError:
            return []
        return [model.name for model in models]

    def get_running_models(self) -> list[dict[str, Any]]:
        """The loaded models as `/api/ps` lists them; an empty list when the server is down."""
        try:
            return self._ask("GET", "/api/ps").get("models") or []
        except OllamaError:
            return []

    def get_model_info(self, model: str) -> dict[str, Any]:
        """Details of a model from `/api/show`; an empty dict without the model or the server."""
        try:
            return self._ask("POST", "/api/show", {"model": model})
        except OllamaError:
            return {}

    def ensure_model_available(self, model: str) -> bool:
        """Pull the model unless it is installed, and return whether it is installed afterwards."""
        check_name("model", model)
        wanted = normalise_model(model)
        if any(normalise_model(name) == wanted for name in self.list_models()):
            return True
        return self.pull_model(model)

    def pull_model(self, model: str) -> bool:
        """Pull a model, showing progress on a terminal, and return whether the pull succeeded."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        bars = Progress(*columns, console=console, disable=not console.is_terminal)
        layers: dict[str, TaskID] = {}

        async def pull(client: OllamaClient) -> None:
            async for line in client.pull(model):
                key = line.digest or line.status
                if key not in layers:
                    layers[key] = bars.add_task(line.status, total=line.total)
                bars.update(layers[key], completed=line.completed or 0, total=line.total)

        try:
            with bars:
                self._wait_for(pull)
        except OllamaError as error:
            if console.is_terminal:
                console.print(str(error), markup=False)
            return False
        return True

    def recommend_model(self, task: str = "balanced") -> str:
        """Name a model of Ollama's library that suits a kind of work; see `RECOMMENDED_MODELS`.

        Raises:
            ValueError: The kind is unknown; the message lists the known kinds.
        """
        found = RECOMMENDED_MODELS.get(str(task).strip().lower())
        if found is None:
            known = ", ".join(RECOMMENDED_MODELS)
            raise ValueError(f"there is no recommendation for {task!r}; ask for {known}")
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._wait_for(lambda client: client.ask(method, path, body, within_s=self.timeout))

    def _wait_for(self, work: Callable[[OllamaClient], Awaitable[T]]) -> T:
        """Run a coroutine in the event loop of a separate thread, and return its result.

        A plain function may be called inside a running loop, where `asyncio.run` is not allowed.
        """

        async def run() -> T:
            async with contextlib.aclosing(self._client()) as client:
                return await work(client)

        with start_blocking_portal() as portal:
            return portal.call(run)

    def _client(self) -> OllamaClient:
        waits = Timeouts(
            connect_s=min(_CONNECT_S, self.timeout),
            first_byte_s=self.timeout,
            between_chunks_s=self.timeout,
        )
        return OllamaClient(self.base_url, timeouts=waits, credentials=self._credentials)

    def _call(self, model: str, prompt: str, parameters: Mapping[str, Any]) -> Call:
        return Call(model=model, prompt=prompt, parameters=parameters, timeout_s=self.timeout)

    async def _run_all(
        self, calls: Sequence[Call], limits: Limits, display: Display | None
    ) -> list[Outcome]:
        """Run all calls and return their outcomes in the order of the calls."""
        outcomes: dict[int, Outcome] = {}
        failed = 0
        pace = _Pace(limits)
        waiting = enumerate(calls)
        async with contextlib.aclosing(self._client()) as client, asyncio.TaskGroup() as slots:

            async def fill_slot() -> None:
                # All slots draw from one iterator, so there is no task per prompt.
                nonlocal failed
                for index, call in waiting:
                    await pace.next_start()
                    outcomes[index] = await client.run(call)
                    failed += isinstance(outcomes[index], Failed)
                    if display is not None:
                        done, total = len(outcomes), len(calls)
                        words = f"{done}/{total}" + (f", {failed} failed" if failed else "")
                        display.draw("running" if done < total else "done", done, total, words)

            for number in range(min(limits.max_concurrent, len(calls))):
                slots.create_task(fill_slot(), name=f"slot-{number}")
        return [outcomes[index] for index in range(len(calls))]


class _Pace:
    """Spaces the starts of calls by the rate limit, over all coroutines."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._next_ms = 0
        self._turn = asyncio.Lock()

    async def next_start(self) -> None:
        """Return when the next call may start; the moment is reserved only then.

        Moments reserved ahead would all be due together after the event loop or the machine had
        stalled.
        """
        if not self._limits.rate_limit_delay_s:
            return
        async with self._turn:
            clock = asyncio.get_running_loop().time
            # An event loop may end a sleep slightly early.
            while (wait_s := self._next_ms / 1000 - clock()) > 0:  # noqa: ASYNC110 - time it is
                await asyncio.sleep(wait_s)
            self._next_ms = next_start_at_ms(math.ceil(clock() * 1000), self._limits)


def _result(call: Call, outcome: Outcome) -> dict[str, Any]:
    succeeded = outcome if isinstance(outcome, Succeeded) else None
    return {
        "prompt": call.prompt,
        "response": succeeded.response if succeeded else None,
        "model": call.model,
        "success": succeeded is not None,
        "error": outcome.message if isinstance(outcome, Failed) else None,
        "eval_count": outcome.metrics.eval_count,
        "eval_duration": outcome.metrics.eval_duration,
    }


def _figures(call: Call, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Combine the runs of one model into its figures."""
    succeeded = [outcome for outcome in outcomes if isinstance(outcome, Succeeded)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    latencies = [run.metrics.latency_s for run in succeeded if run.metrics.latency_s is not None]
    error = failed[-1].message if failed else None
    if error and succeeded:
        error = f"{len(failed)} of {len(outcomes)} runs failed, the last with: {error}"
    figures: dict[str, Any] = {
        "model": call.model,
        "latency": statistics.fmean(latencies) if latencies else None,
        "tokens_per_sec": _tokens_per_s(succeeded),
        "prompt": call.prompt,
        "response": succeeded[-1].response if succeeded else None,
        "num_runs": len(outcomes),
        "error": error,
    }
    if any(_is_impossible(run) for run in succeeded):
        figures["flags"] = [Flag.IMPOSSIBLE_RATE.value]
    return figures


def _is_impossible(run: Succeeded) -> bool:
    return is_rate_impossible(run.metrics.eval_count, run.metrics.eval_duration)


def _tokens_per_s(runs: Sequence[Succeeded]) -> float | None:
    # `eval_duration` starts at the first token, so it is meaningless for an answer of one token.
    rated = [
        (run.metrics.eval_count, run.metrics.eval_duration)
        for run in runs
        if run.metrics.eval_count
        and run.metrics.eval_count > 1
        and run.metrics.eval_duration
        and not _is_impossible(run)
    ]
    if not rated:
        return None
    return sum(count for count, _ in rated) * _NANO / sum(duration for _, duration in rated)
