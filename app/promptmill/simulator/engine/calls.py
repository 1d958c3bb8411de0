"""Log of calls: arrival, duration, concurrency.

A call is in flight from the arrival of its request to the end of its answer (or of its connection).
Numbers are counted as calls happen, so that reading them costs nothing while calls run.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

_SHOWN_FIELDS = (
    "id",
    "arrived",
    "slot_at",
    "ended",
    "method",
    "path",
    "model",
    "prompt",
    "prompt_hash",
    "stream",
    "num_ctx",
    "prompt_tokens",
    "cached_tokens",
    "keep_alive_s",
    "status",
    "outcome",
    "fault",
)

_SHOWN = 200
"""Characters of a prompt that are shown when the log is read."""


class Call:
    """One call. Times are seconds of the monotonic clock; a time is None until it has come."""

    __slots__ = (
        "arrived",
        "cached_tokens",
        "counted",
        "ended",
        "fault",
        "id",
        "keep_alive_s",
        "method",
        "model",
        "num_ctx",
        "outcome",
        "path",
        "prompt",
        "prompt_hash",
        "prompt_tokens",
        "slot_at",
        "status",
        "stream",
    )

    def __init__(self, number: int, method: str, path: str, arrived: float) -> None:
        self.id = number
        self.method = method
        self.path = path
        self.arrived = arrived
        self.model: str | None = None
        """The model's own name, such as `tiny:latest`, however the client spelled it."""
        self.prompt: str | None = None
        self.prompt_hash: str | None = None
        self.stream: bool | None = None
        self.num_ctx: int | None = None
        self.prompt_tokens: int | None = None
        """Tokens of the prompt in the window; None until its evaluation begins."""
        self.cached_tokens: int | None = None
        """Tokens of the prompt that are not evaluated; None if evaluation takes no time."""
        self.keep_alive_s: float | None = None
        self.fault: str | None = None
        self.slot_at: float | None = None
        """When it got its slot."""
        self.ended: float | None = None
        self.status: int | None = None
        self.outcome: str | None = None
        """answered, refused, error_line, no_done, cut, client_left or broken."""
        self.counted: tuple[Tally, ModelTally] | None = None
        """Counts that the call belongs to, so that a reset does not mix old and new."""

    def as_dict(self) -> dict[str, object]:
        """The call as it is shown to readers of the log."""
        shown: dict[str, object] = {name: getattr(self, name) for name in _SHOWN_FIELDS}
        if self.prompt is not None:
            shown["prompt"] = self.prompt[:_SHOWN]
        if self.keep_alive_s == float("inf"):
            shown["keep_alive_s"] = -1.0
        return shown


@dataclass(slots=True)
class ModelTally:
    """The counts of one model."""

    calls: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    in_slots: int = 0
    peak_in_slots: int = 0
    loads: int = 0
    unloads: int = 0
    least_gap_s: float | None = None
    last_arrival: float | None = None


@dataclass(slots=True)
class Tally:
    """The counts of the whole server since its start or its last reset."""

    calls: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    least_gap_s: float | None = None
    last_arrival: float | None = None
    models: defaultdict[str, ModelTally] = field(default_factory=lambda: defaultdict(ModelTally))
    prompts: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    paths: Counter[str] = field(default_factory=Counter[str])


def prompt_hash(model_key: str, prompt: str) -> str:
    """Fingerprint of a prompt for the log: 16 hexadecimal digits of model and text."""
    text = f"{model_key}\0{prompt}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8).hexdigest()


class CallLog:
    """Every call so far, and the counts."""

    def __init__(self, kept: int, path: Path | None) -> None:
        self._calls: deque[Call] = deque(maxlen=kept)
        self._number = 0
        # Unbuffered, so that what is written survives the end of this process, whatever ends it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = None if path is None else os.open(path, flags, 0o644)
        self.tally = Tally()
        self._watchers: list[tuple[Callable[[Tally], bool], asyncio.Future[None]]] = []

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls))

    def reset(self) -> None:
        """Forget all calls; those still running are not counted any more."""
        self._calls.clear()
        self.tally = Tally()

    def close(self) -> None:
        """Close the log's file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def arrive(self, method: str, path: str) -> Call:
        """Note the arrival of a request."""
        self._number += 1
        call = Call(self._number, method, path, time.monotonic())
        self._calls.append(call)
        self.tally.paths[path] += 1
        return call

    def name(self, call: Call, model_key: str, prompt: str) -> int:
        """Note that the call asks a model for an answer, and return how often its prompt came."""
        tally = self.tally
        call.model = model_key
        call.prompt = prompt
        call.prompt_hash = prompt_hash(model_key, prompt)
        model = self.of_model(model_key)
        call.counted = (tally, model)
        for counts in call.counted:
            counts.calls += 1
            counts.in_flight += 1
            counts.peak_in_flight = max(counts.peak_in_flight, counts.in_flight)
            if counts.last_arrival is not None:
                gap = max(0.0, call.arrived - counts.last_arrival)
                counts.least_gap_s = (
                    gap if counts.least_gap_s is None else min(counts.least_gap_s, gap)
                )
            counts.last_arrival = call.arrived
        tally.prompts[call.prompt_hash] += 1
        if self._file is not None:
            self._write("arrived", call)
        self._notify()
        return tally.prompts[call.prompt_hash]

    def take_slot(self, call: Call) -> None:
        """Note that the call has its slot."""
        call.slot_at = time.monotonic()
        if call.counted is not None:
            _, model = call.counted
            model.in_slots += 1
            model.peak_in_slots = max(model.peak_in_slots, model.in_slots)
        self._notify()

    def leave_slot(self, call: Call) -> None:
        """Note that the call gives its slot back."""
        if call.counted is not None:
            call.counted[1].in_slots -= 1

    def end(self, call: Call) -> None:
        """Note the end of the answer, or of the connection."""
        call.ended = time.monotonic()
        self.tally.outcomes[call.outcome or "broken"] += 1
        if call.counted is not None:
            for counts in call.counted:
                counts.in_flight -= 1
            if self._file is not None:
                self._write("ended", call)
        self._notify()

    def count_load(self, model_key: str) -> None:
        """Note that a model begins to load."""
        self.of_model(model_key).loads += 1
        self._notify()

    def count_unload(self, model_key: str) -> None:
        """Note that a model was unloaded, or its process has died."""
        self.of_model(model_key).unloads += 1
        self._notify()

    def of_model(self, model_key: str) -> ModelTally:
        """The counts of a model."""
        return self.tally.models[model_key]

    async def until(self, met: Callable[[Tally], bool]) -> None:
        """Wait until the counts satisfy `met`."""
        if not met(self.tally):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((met, turn))
            await turn

    def _notify(self) -> None:
        """Wake the waits that are satisfied."""
        if not self._watchers:
            return
        for met, turn in self._watchers:
            if not turn.done() and met(self.tally):
                turn.set_result(None)
        self._watchers = [watcher for watcher in self._watchers if not watcher[1].done()]

    def _write(self, event: str, call: Call) -> None:
        if self._file is not None:
            line = json.dumps({"event": event, **call.as_dict()}) + "\n"
            os.write(self._file, line.encode("utf-8", "replace"))

    def stats(self, *, with_prompts: bool) -> dict[str, object]:
        """The counts as JSON; on wish with the number of calls of each prompt (by its hash)."""
        tally = self.tally
        stats: dict[str, object] = {
            "calls": tally.calls,
            "in_flight": tally.in_flight,
            "peak_in_flight": tally.peak_in_flight,
            "least_gap_s": tally.least_gap_s,
            "models": {
                name: {
                    key: getattr(model, key)
                    for key in ModelTally.__slots__
                    if key != "last_arrival"
                }
                for name, model in tally.models.items()
                if model.calls or model.loads
            },
            "outcomes": dict(tally.outcomes),
            "paths": dict(tally.paths),
            "distinct_prompts": len(tally.prompts),
            "prompts_by_number_of_calls": {
                str(times): prompts
                for times, prompts in sorted(Counter(tally.prompts.values()).items())
            },
        }
        if with_prompts:
            stats["prompts"] = dict(tally.prompts)
        return stats
