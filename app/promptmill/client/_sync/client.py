# Generated from _async/client.py by scripts/sync_client.py: change that file instead.
"""The synchronous client: sends the requests of `client.requests`."""

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

    `base_url` is where the service listens (`http://127.0.0.1:8000`). `timeout_s` bounds each
    silence of the service, `attempts` how often a request is sent that can be repeated without
    harm. `api_key` is for a service that wants one; `headers` go with every request. `transport` is
    httpx's, for tests. What benchmarks need is under `benchmarks`.

    Every method raises `ServiceUnreachable` when there is no answer, `PromptmillProblem` when the
    service refuses, and `UnexpectedAnswer` when something else answers at that address.

        with Promptmill() as client:
            batch = client.submit(["Why is the sky blue?"], model="qwen3:8b")
            client.wait(batch.id)
            for result in client.results(batch.id):
                print(result.response)
    """

    @cached_property
    def benchmarks(self) -> Benchmarks:
        """What the service can do with benchmarks."""
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

        Called again with the same arguments, after a crash or an outage, it goes on where it was:
        what has an answer is not asked again, what failed is. For another run of the same prompts
        give another `idempotency_key`. `progress` is as in `wait`. `generate_kwargs` are further
        fields of a batch: `system`, `options`, `timeout_s`, `max_attempts`, ...

        Returns:
            One dict per prompt, in their order: `prompt, response, model, success, error,
            eval_count, eval_duration`.

        Raises:
            TypeError: A prompt is neither a text nor an object, or a field is none of a batch.
            ValueError: A prompt is empty, or something cannot be said in JSON.
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

        The service measures as it does for every benchmark, with a warm-up and the host to itself;
        `benchmarks.create` has all that can be asked for. Called again with the same arguments it
        returns the same benchmark; to measure again give another `idempotency_key`.

        Returns:
            For each model `model, latency, tokens_per_sec, prompt, response, num_runs, error`.

        Raises:
            TypeError: `models` is a single text, or one of them is no text.
            ValueError: Something cannot be said in JSON.
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
        """Hand over a batch; when this returns, the service has it on disk.

        A key is made for each call unless one is given, so that a request whose answer was lost is
        repeated without making a second batch. Give one, or `once=True`, to make that hold for a
        whole program.

        Raises:
            ValueError: There is no prompt, or something in it that JSON cannot say.
        """
        return self._call(submission.submit(prompts, fields, idempotency_key=idempotency_key))

    def submit_stream(
        self,
        prompts: Iterable[Prompt],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[SubmitFields],
    ) -> AcceptedBatch:
        """`submit` for any number of prompts: they are sent while `prompts` makes them.

        Neither side holds them all in memory, and the batch appears when the last one is stored. A
        list is sent again after a lost answer, an iterator (which is used up) is not.

        Raises:
            TypeError: `prompts` is a single text.
            ValueError: Something in it cannot be said in JSON.
        """
        return self._call(
            submission.submit(prompts, fields, idempotency_key=idempotency_key, stream=True)
        )

    def dry_run(self, prompts: Iterable[Prompt], **fields: Unpack[SubmitFields]) -> DryRun:
        """What a batch of these would be; everything is checked, the models too, nothing stored.

        Raises:
            PromptmillProblem: It would be refused; `errors` names every prompt that is wrong.
            TypeError: `prompts` is a single text.
            ValueError: Something in it cannot be said in JSON.
        """
        return self._call(submission.dry_run(prompts, fields))

    def get(self, batch_id: str, *, limit: int = 0, wait_s: float = 0.0) -> Batch:
        """The batch as it stands, with its first `limit` results.

        With `wait_s` the answer comes when the batch has ended, at the latest after that time.
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
        """The batch again and again, until it has ended or `timeout_s` is over.

        While the service is away (a restart), an `Outage` comes instead and it is tried again, for
        at most `reconnect_s`; then its error is raised.
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
        """The batch when it has ended; a restart of the service meanwhile does no harm.

        `progress` shows a bar in a notebook or on a terminal, and lines on stderr elsewhere.

        Raises:
            WaitTimeout: It had not ended after `timeout_s`.
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
        """What becomes of the batch, as it happens, until it has ended.

        With `results` each result comes once, in the order in which they were stored: all of them,
        or those after the event of id `last_event_id`. A connection that breaks is made again and
        goes on where it was, unless that fails for `reconnect_s`.
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
        """A page of batches that match, newest first; `q` is a text in label, id or metadata."""
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
        """Ask for the batch to end: running calls are aborted, finished results stay."""
        return self._call(batches.cancel_batch(batch_id))

    def pause(self, batch_id: str) -> Batch:
        """Start nothing more of the batch; prompts that run may finish."""
        return self._call(steering.pause_batch(batch_id))

    def resume(self, batch_id: str) -> Batch:
        """Let a paused batch go on."""
        return self._call(steering.resume_batch(batch_id))

    def retry(
        self,
        batch_id: str,
        *,
        indexes: Iterable[int] | None = None,
        expires_in_s: float | None = None,
    ) -> Batch:
        """Run again what failed, was cancelled or expired: all of it, or the prompts of `indexes`.

        A deadline that has passed no longer holds; `expires_in_s` sets a new one.
        """
        return self._call(
            steering.retry_batch(batch_id, indexes=indexes, expires_in_s=expires_in_s)
        )

    def update(self, batch_id: str, **changes: Unpack[BatchChanges]) -> Batch:
        """Change limits, priority, label or metadata; the next start of a prompt goes by them.

        Raises:
            ValueError: There is nothing to change.
        """
        return self._call(steering.update_batch(batch_id, changes))

    def delete(self, batch_id: str) -> None:
        """Remove an ended batch with its prompts and results."""
        self._call(batches.delete_batch(batch_id))

    def models(self) -> tuple[Model, ...]:
        """The models that the service can run."""
        return self._call(batches.list_models())

    def hosts(self) -> tuple[Host, ...]:
        """The Ollama hosts, asked now: reachable, loaded, in flight, put aside and why."""
        return self._call(steering.list_hosts())

    def update_host(self, host_id: str, *, enabled: bool) -> Host:
        """Take a host out of service, where nothing more is started then, or put it back."""
        return self._call(steering.update_host(host_id, enabled=enabled))

    def workers(self) -> tuple[Worker, ...]:
        """The processes that work off the queue, those that have not stopped first."""
        return self._call(batches.list_workers())

    def health(self) -> Health:
        """Whether the process answers."""
        return self._call(batches.health())

    def ready(self) -> Readiness:
        """Whether the service can work now."""
        return self._call(batches.ready())
