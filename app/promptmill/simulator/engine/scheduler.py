"""Loaded models: the load queue, the loader, eviction and keep_alive.

A second reading of Ollama's scheduler (protocol facts, part 11), with what looks like its mistakes:

* A request for a loaded model with the same runner options passes the queue by. It waits for a slot
  without limit and is never refused.
* Every other request stands in one queue, and one loader serves it strictly in order: whoever waits
  for an eviction holds up everybody behind, even a client that has left meanwhile.
* To evict a busy model is only to mark it (its keep_alive becomes 0). It goes at a moment with no
  request; new requests for it are still let in, so steady traffic starves the queue. A request
  with a `keep_alive` of its own even wipes the mark out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from promptmill.simulator.engine.calls import CallLog
from promptmill.simulator.engine.runner import Runner
from promptmill.simulator.faults.refusals import BUSY, Refusal
from promptmill.simulator.protocol.options import RunnerOptions
from promptmill.simulator.settings import COMPLETION, ModelSpec, SimulatorSettings

LOAD_BROKEN = "llama runner process has terminated: exit status 2"
"""The runner died while it was loading its model."""


class _Wanted:
    """A request in the load queue."""

    __slots__ = ("failure", "gone", "keep_alive_s", "key", "options", "result", "spec", "stale")

    def __init__(
        self,
        spec: ModelSpec,
        key: str,
        options: RunnerOptions,
        keep_alive_s: float | None,
        failure: str | None,
        stale: Runner | None,
    ) -> None:
        self.spec = spec
        self.key = key
        self.options = options
        self.keep_alive_s = keep_alive_s
        self.failure = failure
        self.stale = stale
        """The loaded model that it does not want, whatever its options."""
        self.gone = asyncio.Event()
        self.result: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()


class Scheduler:
    """Loaded models, and the requests that wait for one."""

    def __init__(self, settings: SimulatorSettings, log: CallLog) -> None:
        self._settings = settings
        self._log = log
        self.loaded: dict[str, Runner] = {}
        """The models in memory, also those still loading, by their key."""
        self._waiting: deque[_Wanted] = deque()
        self._served: _Wanted | None = None
        self._unloaded = asyncio.Event()
        self._loader: asyncio.Task[None] | None = None

    async def lease(
        self,
        spec: ModelSpec,
        key: str,
        options: RunnerOptions,
        *,
        keep_alive_s: float | None,
        failure: str | None = None,
        anew: bool = False,
    ) -> Runner:
        """Get the loaded model, counted as used until `release`.

        Waits for a load if needed. Refused with 503 if the load queue is full, with 500 if the load
        fails; `failure` is a text with which it must fail. With `anew` a loaded model is reloaded,
        as if its runner options differed.
        """
        stale = self.loaded.get(key) if anew else None
        while (runner := self._fitting(key, options)) is not None and runner is not stale:
            if failure is not None:
                raise Refusal(500, failure)
            if runner.loading is None:
                return self._use(runner, keep_alive_s)
            # Its load is waited for outside the queue; if it fails, the queue is next.
            await asyncio.shield(runner.loading)
        return await self._stand_in_line(_Wanted(spec, key, options, keep_alive_s, failure, stale))

    def release(self, runner: Runner) -> None:
        """Release the model after a request; the last request starts the time to its unloading."""
        runner.users -= 1
        if runner.users > 0 or self.loaded.get(runner.key) is not runner:
            return
        if runner.keep_alive_s <= 0:
            self._unload(runner)
            return
        runner.expires_at = time.time() + min(runner.keep_alive_s, 9_223_372_036.0)
        if runner.keep_alive_s < math.inf:
            loop = asyncio.get_running_loop()
            runner.timer = loop.call_later(runner.keep_alive_s, self._expire, runner)

    def unload(self, key: str) -> None:
        """Unload a model as soon as it is idle; without effect if it is not loaded."""
        runner = self.loaded.get(key)
        if runner is not None:
            self._mark(runner)

    def kill(self, key: str | None = None) -> list[str]:
        """Let the processes of one model, or of all, die at once; return the names of the dead."""
        dead = [runner for runner in self.loaded.values() if key in {None, runner.key}]
        for runner in dead:
            runner.die()
            self._unload(runner)
        return [runner.key for runner in dead]

    async def close(self) -> None:
        """End the loader; nothing is loaded any more."""
        for runner in tuple(self.loaded.values()):
            self._unload(runner)
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)
            self._loader = None

    def _fitting(self, key: str, options: RunnerOptions) -> Runner | None:
        """The loaded model if the options need no reload."""
        runner = self.loaded.get(key)
        return runner if runner is not None and runner.options == options else None

    def _use(self, runner: Runner, keep_alive_s: float | None) -> Runner:
        runner.users += 1
        if runner.timer is not None:
            runner.timer.cancel()
            runner.timer = None
        runner.expires_at = None
        if keep_alive_s is not None:
            runner.keep_alive_s = keep_alive_s
        return runner

    async def _stand_in_line(self, wanted: _Wanted) -> Runner:
        if self._served is not None and len(self._waiting) >= self._settings.max_queue:
            raise Refusal(503, BUSY)
        if self._served is None:
            self._served = wanted
            # Already here, so that requests of the same moment find the model loading.
            runner = self._put(wanted) if self._has_room_for(wanted) else None
            self._loader = asyncio.create_task(self._serve(runner), name="simulated loader")
        else:
            self._waiting.append(wanted)
        try:
            return await wanted.result
        except asyncio.CancelledError:
            # It keeps its place: the loader only skips it when its turn comes, as Ollama's does.
            wanted.gone.set()
            result = wanted.result
            if result.done() and not result.cancelled() and result.exception() is None:
                self.release(result.result())
            raise

    async def _serve(self, runner: Runner | None) -> None:
        """The loader: serves the queue until it is empty. `runner` is already put for the first."""
        while self._served is not None:
            if runner is not None:
                await self._load(runner, self._served)
                runner = None
            elif not self._served.gone.is_set():
                await self._provide(self._served)
            self._served = self._waiting.popleft() if self._waiting else None

    async def _provide(self, wanted: _Wanted) -> None:
        """Get the model for one request: reload, evict and load as needed."""
        while not wanted.gone.is_set():
            runner = self.loaded.get(wanted.key)
            if runner is not None and _suits(runner, wanted):
                self._hand_over(runner, wanted)
                return
            if self._has_room_for(wanted):
                await self._load(self._put(wanted), wanted)
                return
            runner = runner or self._victim()
            self._unloaded.clear()
            if self._mark(runner):
                await self._unloaded.wait()

    def _hand_over(self, runner: Runner, wanted: _Wanted) -> None:
        self._use(runner, wanted.keep_alive_s)
        if wanted.result.done():
            # The client left at this very moment.
            self.release(runner)
        else:
            wanted.result.set_result(runner)

    def _victim(self) -> Runner:
        """The model to evict: an idle one if there is any, the shortest keep_alive first."""
        return min(
            self.loaded.values(),
            key=lambda runner: (runner.users > 0, runner.keep_alive_s, runner.key),
        )

    def _mark(self, runner: Runner) -> bool:
        """Have the runner go when it is idle; return whether it is still there."""
        runner.keep_alive_s = 0.0
        if runner.users == 0 and runner.loading is None:
            self._unload(runner)
            return False
        return True

    def _has_room_for(self, wanted: _Wanted) -> bool:
        return wanted.key not in self.loaded and len(self.loaded) < self._settings.max_loaded

    def _put(self, wanted: _Wanted) -> Runner:
        """Begin to load the model."""
        settings = self._settings
        runner = Runner(
            wanted.spec,
            wanted.key,
            wanted.options,
            slots=settings.num_parallel if COMPLETION in wanted.spec.capabilities else 1,
            keep_alive_s=math.inf if settings.keep_alive_s < 0 else settings.keep_alive_s,
        )
        runner.loading = asyncio.get_running_loop().create_future()
        self.loaded[wanted.key] = runner
        self._log.count_load(wanted.key)
        return runner

    async def _load(self, runner: Runner, wanted: _Wanted) -> None:
        """Load the model; a client that leaves meanwhile takes the load with it."""
        left = False
        if wanted.spec.speed.load_s > 0:
            try:
                await asyncio.wait_for(wanted.gone.wait(), wanted.spec.speed.load_s)
                left = True
            except TimeoutError:
                pass
        loading, runner.loading = runner.loading, None
        failure = LOAD_BROKEN if runner.dead else wanted.failure
        if left or failure:
            self._unload(runner)
            if failure and not wanted.result.done():
                wanted.result.set_exception(Refusal(500, failure))
        else:
            self._hand_over(runner, wanted)
        if loading is not None:
            loading.set_result(None)

    def _expire(self, runner: Runner) -> None:
        if runner.users == 0:
            self._unload(runner)

    def _unload(self, runner: Runner) -> None:
        if runner.timer is not None:
            runner.timer.cancel()
            runner.timer = None
        if self.loaded.get(runner.key) is runner:
            del self.loaded[runner.key]
            self._log.count_unload(runner.key)
        self._unloaded.set()


def _suits(runner: Runner, wanted: _Wanted) -> bool:
    """Whether the request can have this loaded model."""
    return runner.options == wanted.options and runner is not wanted.stale
