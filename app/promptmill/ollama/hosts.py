"""A host: its client, its health, and the last view of it.

`ollama.health` decides what follows from an event; this module does the I/O. `run` and `probe` are
about work, `look` is about knowledge: a look may put a host without a connection into quarantine,
but only a probe ends a quarantine.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from promptmill.domain.benchmarks.timeline import Timeline
from promptmill.domain.calls import Call
from promptmill.domain.context_window import may_be_cut, num_ctx_of, text_of
from promptmill.domain.hosts.reports import CallSpeed, HostReport, Quarantine
from promptmill.domain.hosts.spec import HostSpec
from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.collapse import Flights
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.failures.usage_limits import LONGEST_TOLD_S, UsageLimits
from promptmill.ollama.health import (
    OF_THE_HOST,
    CallStatistics,
    Health,
    after_call,
    after_look,
    after_probe,
    counted,
    fingerprint_of,
)
from promptmill.ollama.heard_answer import Piece
from promptmill.ollama.models import InstalledModel, RunningModel

LOOK_S = 2.0
"""Most seconds of each of the three requests of a look."""
_WINDOW_S = 5.0
"""Seconds after which the window of a loaded model is requested again."""
_NEW_MODEL_S = 0.5
"""The same for a model that is not in the view."""

_NOT_PUT_ASIDE_S = 0.5
"""Seconds until the next probe of a host that is not in quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Last view of a host; None stands for unknown values. Times are of the host's clock."""

    version: str | None = None
    version_at: float | None = None
    """Moment of the last response with the version, the sign of life."""
    trouble: Failed | None = None
    """Why the last look did not get the version; None if it did."""
    installed: tuple[InstalledModel, ...] | None = None
    """The models on its disk."""
    names: frozenset[str] = frozenset()
    """Normalised names of the installed models."""
    loaded: tuple[RunningModel, ...] | None = None
    """Loaded models, with their graphics memory and window."""
    loaded_at: float | None = None
    models_trouble: Failed | None = None
    """Why the last look did not get all models; older values stay meanwhile."""


class Host:
    """An Ollama server: its client, its health, and a view of its models."""

    def __init__(
        self,
        client: OllamaClient,
        *,
        spec: HostSpec | None = None,
        longest_limit_s: float = LONGEST_TOLD_S,
        machine: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the arguments; `clock` gives monotonic seconds, and the caller closes the client.

        `longest_limit_s` bounds the usage limits that the host can set for a model. Without a
        `spec` the host has no limit of slots and runs every model. `machine` is the machine of a
        loopback address, None for an address of the network.
        """
        self.client = client
        self.spec = spec or HostSpec(url=client.base_url)
        self.machine = machine
        self.health = Health()
        self.view = View()
        self.tally = CallStatistics()
        self.limits = UsageLimits(longest_limit_s)
        """Usage limits of the host, by model."""
        self._asking = asyncio.Lock()
        self._asked_at = 0.0
        self._answered = False
        self._flights = Flights()
        self._abilities: dict[str, tuple[str, ...]] = {}
        """Capabilities by the digests of models, for servers that do not list them."""
        self._asking_for_windows = asyncio.Lock()
        self._asked_for_windows_at = -math.inf
        self._clock = clock
        self._only = (
            None
            if self.spec.models is None
            else frozenset(normalise_model(name) for name in self.spec.models)
        )

    @property
    def url(self) -> str:
        """Address of the host, which together with `machine` is its key."""
        return self.client.base_url

    @property
    def available(self) -> bool:
        """Whether work may go to the host now."""
        return self.health.available

    @property
    def refuses(self) -> bool:
        """Whether the host is in quarantine because it refuses prompts, or is not Ollama."""
        trouble = self.health.trouble
        return trouble is not None and trouble.code is ErrorCode.HOST_REFUSED

    def may_run(self, model: str) -> bool:
        """Whether the settings allow the model at the host."""
        return self._only is None or normalise_model(model) in self._only

    def has_model(self, model: str) -> bool | None:
        """Whether the host has the model and may run it; None if its models are unknown."""
        if not self.may_run(model):
            return False
        if self.view.installed is None:
            return None
        return normalise_model(model) in self.view.names

    def has_loaded(self, model: str) -> bool:
        """Whether the model was loaded at the last look."""
        return self._loaded(model) is not None

    async def capabilities_of(self, model: str, *, within_s: float) -> tuple[str, ...]:
        """Capabilities that the host reports for a model; empty without a report in that time."""
        wanted = normalise_model(model)
        installed = self.view.installed or ()
        found = next((one for one in installed if normalise_model(one.name) == wanted), None)
        if found is None or not self.may_run(model):
            return ()
        if found.capabilities is None and found.digest not in self._abilities:
            try:
                async with asyncio.timeout(within_s):
                    info = await self.client.show(found.name)
            except (OllamaError, TimeoutError):
                return ()
            self._abilities[found.digest] = info.capabilities
        return found.capabilities or self._abilities.get(found.digest, ())

    async def windows_of(self, call: Call, prompt_tokens: int | None) -> frozenset[int]:
        """Context windows that the model may have had for a call that has just ended.

        They are the requested window, and that of the loaded model if none was requested, or more
        than the model was trained on. The host is asked at most every few seconds, and only about
        prompts that may have been cut.
        """
        wanted = num_ctx_of(call.parameters)
        if wanted is None:
            sent = text_of(call)
            if sent is None or not may_be_cut(prompt_tokens, sent):
                return frozenset()
            async with self._asking_for_windows:
                if self._window_is_old(call.model):
                    await self._look_at_memory(LOOK_S)
                    self._asked_for_windows_at = self._clock()
        loaded = self._loaded(call.model)
        window = None if loaded is None else loaded.context_length
        if wanted is None:
            return frozenset() if window is None else frozenset({window})
        return frozenset({wanted, wanted if window is None else min(window, wanted)})

    def _window_is_old(self, model: str) -> bool:
        seen_at = self.view.loaded_at
        asked_at = self._asked_for_windows_at
        age_s = self.seconds_since(asked_at if seen_at is None else max(seen_at, asked_at))
        # A model that has just answered and is not in the view was loaded after that look.
        return age_s >= (_WINDOW_S if self._loaded(model) else _NEW_MODEL_S)

    def _loaded(self, model: str) -> RunningModel | None:
        name = normalise_model(model)
        loaded = self.view.loaded or ()
        return next((one for one in loaded if normalise_model(one.name) == name), None)

    def seconds_since(self, moment: float) -> float:
        """Seconds since a moment of the view; negative for a future moment."""
        return self._clock() - moment

    def report(self) -> HostReport:
        """Report of the host as this process sees it, for other processes."""
        health, tally = self.health, self.tally
        aside = None
        if health.trouble is not None:
            aside = Quarantine(
                error_code=health.trouble.code,
                reason=health.trouble.message,
                next_look_s=max(-self.seconds_since(health.rest_until), 0.0),
            )
        return HostReport(
            url=self.url,
            machine=self.machine,
            slots=self.spec.slots,
            aside=aside,
            on_trial=health.on_trial,
            calls=tally.calls,
            failed=tally.failed,
            latency_s=tally.latency_s,
            paces={
                model: CallSpeed(call_s=own.call_s, age_s=self.seconds_since(own.answered_at))
                for model, own in tally.models.items()
            },
        )

    async def run(self, call: Call, *, heard: Callable[[Piece], None] | None = None) -> Outcome:
        """Send a prompt; a failure of the host puts it into quarantine.

        A call that fails together with the host or the model's process is not blamed on the prompt
        (`Blame.LOSS`). To detect that, the result of a failure may be delayed for a moment. While a
        usage limit for the model is in force no request is sent, and the refusal is returned again.
        """
        if (refusal := self.limits.refusal(call.model, now=self._clock())) is not None:
            return refusal
        with self._flights.begin(call.model) as flight:
            outcome = await self._call(call, heard=heard)
            fell = await flight.fell_with_others(outcome)
        if isinstance(outcome, Failed) and outcome.blame is Blame.ATTEMPT:
            down = not self.available and outcome.code in OF_THE_HOST
            if fell or down:
                return replace(outcome, blame=Blame.LOSS)
        return outcome

    async def measure(self, call: Call, timeline: Timeline) -> Outcome:
        """Send a prompt for a benchmark; the outcome is returned at once."""
        return await self._call(call, timeline)

    async def _call(
        self,
        call: Call,
        timeline: Timeline | None = None,
        heard: Callable[[Piece], None] | None = None,
    ) -> Outcome:
        returns = self.health.returns
        outcome = await self.client.run(call, timeline=timeline, heard=heard)
        if isinstance(outcome, Failed) and outcome.blame is Blame.GATEWAY:
            answers = await self._answers_now()
            outcome = replace(outcome, blame=Blame.ATTEMPT if answers else Blame.HOST)
        spoken = counted(outcome, call)
        now = self._clock()
        outcome = self.limits.after_call(outcome, model=call.model, now=now)
        self.tally.note(spoken, model=call.model, now=now)
        self.health = after_call(
            self.health,
            spoken,
            returns_at_start=returns,
            now=now,
            fingerprint=0 if isinstance(outcome, Succeeded) else fingerprint_of(call),
        )
        return outcome

    async def _answers_now(self) -> bool:
        """Whether the host returns its version after a proxy gave up; one request for all callers.

        The proxy's page alone does not show whether the host is down or only one prompt took too
        long.
        """
        failed_at = self._clock()
        async with self._asking:
            if self._asked_at < failed_at:
                self._asked_at = self._clock()
                try:
                    await self.client.version(within_s=LOOK_S)
                    self._answered = True
                except OllamaError:
                    self._answered = False
            return self._answered

    async def probe(self) -> float:
        """Probe a quarantined host that has rested; return the seconds until the next probe.

        A busy host is taken back without a request, because a response does not show the length of
        its queue. Any other is taken back once it returns its version; a host that refused must
        return its models too, because gateways often allow requests for the version to everybody.
        """
        health = self.health
        if health.trouble is None:
            return _NOT_PUT_ASIDE_S
        rest_s = health.rest_until - self._clock()
        if rest_s > 0:
            return rest_s
        trouble = None
        if health.trouble.code is not ErrorCode.SERVER_BUSY:
            try:
                await self.client.version()
                if health.trouble.code is ErrorCode.HOST_REFUSED:
                    await self.client.list_models()
            except OllamaError as error:
                trouble = error.failed
        now = self._clock()
        self.health = after_probe(self.health, trouble, now=now)
        return _NOT_PUT_ASIDE_S if trouble is None else self.health.rest_until - now

    async def look(self, *, within_s: float = LOOK_S, judging: bool = True) -> View:
        """Refresh the view within that many seconds.

        `judging` says whether health follows from the look; without it many readers cannot put a
        busy host into quarantine. The three requests are concurrent, and each response is entered
        as it arrives: the loaded models, which Ollama may not report while one is loading, delay
        neither the sign of life nor the list of models. Missing values keep their last state and
        age.
        """
        _, *troubles = await asyncio.gather(
            self._look_at_version(within_s, judging=judging),
            self._look_at_disk(within_s),
            self._look_at_memory(within_s),
        )
        trouble = next((one for one in troubles if one is not None), None)
        self.view = replace(self.view, models_trouble=trouble)
        return self.view

    async def look_at_models(self, *, within_s: float = LOOK_S) -> bool:
        """Refresh only the installed models; return whether the host responded within that time."""
        return await self._look_at_disk(within_s) is None

    async def _look_at_version(self, within_s: float, *, judging: bool) -> None:
        trouble = None
        version = self.view.version
        try:
            version = await self.client.version(within_s=within_s)
        except OllamaError as error:
            trouble = error.failed
        now = self._clock()
        seen_at = now if trouble is None else self.view.version_at
        self.view = replace(self.view, version=version, version_at=seen_at, trouble=trouble)
        if judging:
            self.health = after_look(self.health, trouble, now=now)

    async def _look_at_disk(self, within_s: float) -> Failed | None:
        try:
            installed = tuple(await self.client.list_models(within_s=within_s))
        except OllamaError as error:
            return error.failed
        names = frozenset(normalise_model(model.name) for model in installed)
        self.view = replace(self.view, installed=installed, names=names)
        return None

    async def _look_at_memory(self, within_s: float) -> Failed | None:
        try:
            loaded = tuple(await self.client.list_running(within_s=within_s))
        except OllamaError as error:
            return error.failed
        self.view = replace(self.view, loaded=loaded, loaded_at=self._clock())
        return None
