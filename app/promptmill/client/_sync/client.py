# Generated from _async/client.py by scripts/sync_client.py: change that file instead.
"""`Promptmill`, the synchronous client; its requests come from `client.requests`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Unpack

from promptmill.client._sync.benchmarks import Benchmarks
from promptmill.client._sync.reading import Reading
from promptmill.client._sync.watching import ended, shown, watched
from promptmill.client.errors import PromptmillError
from promptmill.client.event_stream import BatchEvent, Following
from promptmill.client.judgement import LONG_POLL_S, Patience, Sighting
from promptmill.client.requests import batches, in_process, steering, submission
from promptmill.client.requests.batches import Readiness
from promptmill.client.requests.in_process import DEFAULT_BENCHMARK_PROMPT, DEFAULT_MODEL
from promptmill.client.requests.prompts import Prompt
from promptmill.client.requests.steering import BatchChanges
from promptmill.client.requests.submission import SubmitFields
from promptmill.contract.batches import AcceptedBatch, Batch, BatchPage
from promptmill.contract.dry_run import DryRun
from promptmill.contract.hosts import Host
from promptmill.contract.service import Health, Model, Worker


class Promptmill(Reading):
    """A connection to one service; use it in a `with` block, or close it.

    `base_url` is the address of the service (`http://127.0.0.1:8000`). `timeout_s` bounds each
    silence of the service, `attempts` how often a repeatable request is sent. `api_key` is needed
    if the service has keys; `headers` are sent with every request. `transport` is httpx's, for
    tests. Benchmarks have their methods in `benchmarks`.

    Every method raises `ServiceUnreachable` without a response, `PromptmillProblem` when the
    service refuses, and `UnexpectedAnswer` when the address is not that of a Promptmill service.

        with Promptmill() as client:
            batch = client.submit(["Why is the sky blue?"], model="qwen3:8b")
            client.wait(batch.id)
            for result in client.results(batch.id):
                print(result.response)
    """

    @cached_property
    def benchmarks(self) -> Benchmarks:
        """Methods for benchmarks."""
        return Benchmarks(self._call, self._stream)

    def batch_generate(
        self,
        prompts: Iterable[Prompt],
        model: str = DEFAULT_MODEL,
        max_concurrent: int = 5,
        rate_limit_delay: float = 0.1,
        *,
        idempotency_key: str | None = None,
        progress: bool = False,
        **generate_kwargs: Any,  # noqa: ANN401 - any field of a batch
    ) -> list[dict[str, Any]]:
        """Run a batch to its end; the results are those of `OllamaManager.batch_generate`.

        A repeated call with the same arguments, after a crash or an outage, continues the batch:
        prompts with an answer are not sent again, failed ones are. For another run of the same
        prompts pass another `idempotency_key`. `progress` is as in `wait`. `generate_kwargs` are
        further fields of a batch: `system`, `options`, `timeout_s`, `max_attempts`, ...

        Returns:
            One dict per prompt, in their order: `prompt, response, model, success, error,
                eval_count, eval_duration`.

        Raises:
            TypeError: A prompt is neither a string nor an object, or a batch has no such field.
            ValueError: A prompt is empty, or a value has no JSON form.
        """
        values = in_process.prompts_of(prompts)
        fields = in_process.fields_of(model, max_concurrent, rate_limit_delay, generate_kwargs)
        key = idempotency_key or in_process.key_of("batch-generate", values, fields)
        if not values:
            return []
        batch: Batch = self.submit_stream(values, idempotency_key=key, **fields)
        if batch.has_ended and not batch.all_succeeded:
            batch = self.retry(batch.id)
        self.wait(batch.id, progress=progress)
        return [in_process.result_of(one) for one in self.stream_results(batch.id)]

    def batch_benchmark(
        self,
        models: Iterable[str],
        prompt: str = DEFAULT_BENCHMARK_PROMPT,
        num_runs: int = 3,
        *,
        idempotency_key: str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Run a benchmark to its end; the figures are those of `OllamaManager.batch_benchmark`.

        The service measures as in every benchmark, with a warm-up and the host to itself;
        `benchmarks.create` has all options. A repeated call with the same arguments returns the
        same benchmark; to measure again pass another `idempotency_key`.

        Returns:
            For each model `model, latency, tokens_per_sec, prompt, response, num_runs, error`.

        Raises:
            TypeError: `models` is a string, or an entry is not a string.
            ValueError: A value has no JSON form.
        """
        names = in_process.models_of(models)
        key = idempotency_key or in_process.key_of("batch-benchmark", names, prompt, num_runs)
        if not names:
            return {}
        created = self.benchmarks.create(
            names, idempotency_key=key, prompt=prompt, num_runs=num_runs
        )
        ended = self.benchmarks.wait(created.id)
        return {name: in_process.figures_of(ended, name, prompt, num_runs) for name in names}

    def submit(
        self,
        prompts: Iterable[Prompt],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[SubmitFields],
    ) -> AcceptedBatch:
        """Submit a batch; when the method returns, the service has stored the batch on disk.

        Each call makes an idempotency key unless one is given, so that a request whose response was
        lost can be repeated without creating a second batch. An `idempotency_key`, or `once=True`,
        extends that to repeated runs of a program.

        Raises:
            ValueError: There is no prompt, or a value has no JSON form.
        """
        return self._call(submission.submit(prompts, fields, idempotency_key=idempotency_key))

    def submit_stream(
        self,
        prompts: Iterable[Prompt],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[SubmitFields],
    ) -> AcceptedBatch:
        """Submit any number of prompts, sent while `prompts` yields them.

        Neither side holds all prompts in memory, and the batch appears when the last prompt is
        stored. After a lost response a list is sent again; an iterator, which is used up, is not.

        Raises:
            TypeError: `prompts` is a string instead of an iterable.
            ValueError: A value has no JSON form.
        """
        return self._call(
            submission.submit(prompts, fields, idempotency_key=idempotency_key, stream=True)
        )

    def dry_run(self, prompts: Iterable[Prompt], **fields: Unpack[SubmitFields]) -> DryRun:
        """Check a batch as `submit` would, models included, without storing it.

        Raises:
            PromptmillProblem: The batch would be refused; `errors` names every wrong prompt.
            TypeError: `prompts` is a string instead of an iterable.
            ValueError: A value has no JSON form.
        """
        return self._call(submission.dry_run(prompts, fields))

    def get(self, batch_id: str, *, limit: int = 0, wait_s: float = 0.0) -> Batch:
        """Get the batch's state, with its first `limit` results.

        With `wait_s` the service responds when the batch has ended, or after that many seconds.
        """
        return self._call(batches.get_batch(batch_id, limit=limit, wait_s=wait_s))

    def watch(
        self,
        batch_id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float | None = None,
        reconnect_s: float = 60.0,
    ) -> Iterator[Sighting]:
        """Yield the batch's state again and again, until it has ended or `timeout_s` is over.

        While the service cannot be reached (a restart), an `Outage` is yielded and the request
        repeated, for at most `reconnect_s`; then its error is raised.
        """
        return watched(
            lambda wait_s: self.get(batch_id, wait_s=wait_s),
            every_s=every_s,
            timeout_s=timeout_s,
            reconnect_s=reconnect_s,
        )

    def wait(
        self,
        batch_id: str,
        *,
        timeout_s: float | None = None,
        reconnect_s: float = 60.0,
        progress: bool = False,
    ) -> Batch:
        """Wait until the batch has ended, also across restarts of the service.

        `progress` shows a bar in a notebook or on a terminal, and lines on stderr elsewhere.

        Raises:
            WaitTimeout: The batch had not ended after `timeout_s`.
        """
        sightings = self.watch(
            batch_id,
            every_s=1.0 if progress else LONG_POLL_S,
            timeout_s=timeout_s,
            reconnect_s=reconnect_s,
        )
        return ended(shown(sightings) if progress else sightings, batch_id, timeout_s)

    def events(
        self,
        batch_id: str,
        *,
        results: bool = False,
        last_event_id: str | None = None,
        reconnect_s: float = 60.0,
    ) -> Iterator[BatchEvent]:
        """Yield the batch's events as they happen, until the batch has ended.

        With `results` each result is yielded once, in the order of storing: all results, or those
        after the event `last_event_id`. A broken connection is made again and continues, unless
        that fails for `reconnect_s`.
        """
        following = Following(batch_id, results=results, last_event_id=last_event_id)
        patience = Patience(reconnect_s)
        while not following.is_over:
            try:
                with contextlib.closing(self._events_of_one_answer(following)) as events:
                    for event in events:
                        patience.answered()
                        yield event
            except PromptmillError as error:
                pause_s = patience.pause_s(error, time.monotonic())
                if pause_s is None:
                    raise
                time.sleep(pause_s)

    def list_batches(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        model: str | None = None,
        label: str | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        q: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> BatchPage:
        """Get a page of matching batches, newest first; `q` is a text in label, id or metadata."""
        return self._call(
            batches.list_batches(
                limit=limit,
                cursor=cursor,
                status=status,
                model=model,
                label=label,
                metadata=metadata,
                key=key,
                q=q,
                created_after=created_after,
                created_before=created_before,
            )
        )

    def cancel(self, batch_id: str) -> Batch:
        """Cancel the batch: running calls are aborted, finished results are kept."""
        return self._call(batches.cancel_batch(batch_id))

    def pause(self, batch_id: str) -> Batch:
        """Pause the batch: no more prompts are started, running ones may finish."""
        return self._call(steering.pause_batch(batch_id))

    def resume(self, batch_id: str) -> Batch:
        """Resume a paused batch."""
        return self._call(steering.resume_batch(batch_id))

    def retry(
        self,
        batch_id: str,
        *,
        indexes: Iterable[int] | None = None,
        expires_in_s: float | None = None,
    ) -> Batch:
        """Run prompts again that failed, were cancelled or expired: all, or those of `indexes`.

        A deadline that has passed no longer applies; `expires_in_s` sets a new one.
        """
        return self._call(
            steering.retry_batch(batch_id, indexes=indexes, expires_in_s=expires_in_s)
        )

    def update(self, batch_id: str, **changes: Unpack[BatchChanges]) -> Batch:
        """Change limits, priority, label or metadata, from the next start of a prompt on.

        Raises:
            ValueError: No field is given.
        """
        return self._call(steering.update_batch(batch_id, changes))

    def delete(self, batch_id: str) -> None:
        """Delete an ended batch with its prompts and results."""
        self._call(batches.delete_batch(batch_id))

    def models(self) -> tuple[Model, ...]:
        """List the models that the service can run."""
        return self._call(batches.list_models())

    def hosts(self) -> tuple[Host, ...]:
        """List the Ollama hosts as they are now: reachability, models, calls, quarantine."""
        return self._call(steering.list_hosts())

    def update_host(self, host_id: str, *, enabled: bool) -> Host:
        """Take a host out of service, so that no more calls are started there, or put it back."""
        return self._call(steering.update_host(host_id, enabled=enabled))

    def workers(self) -> tuple[Worker, ...]:
        """List the worker processes, those that have not stopped first."""
        return self._call(batches.list_workers())

    def health(self) -> Health:
        """Get the health of the service's process."""
        return self._call(batches.health())

    def ready(self) -> Readiness:
        """Get whether the service can work now."""
        return self._call(batches.ready())
