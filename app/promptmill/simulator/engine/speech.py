"""Sending of an answer: the slot, the time of each token, the lines, and faults in mid-answer.

The metrics are real times. A token is due at a fixed moment after the first one, so that delays do
not add up; tokens that are due together share one write.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.simulator.engine.answers import (
    Answer,
    Wanted,
    compose,
    context_numbers,
    logprob_items,
)
from promptmill.simulator.engine.calls import Call
from promptmill.simulator.engine.catalog import StoredModel
from promptmill.simulator.engine.prefix import TEMPLATE_TOKENS, Slot, prompt_tokens_of
from promptmill.simulator.engine.runner import TOLERANCE_S, Runner
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.engine.text import words_of
from promptmill.simulator.engine.vocabulary import QUOTED
from promptmill.simulator.faults.refusals import (
    LOAD_OOM,
    RUNNER_GONE,
    RUNNER_LOST,
    RUNNER_STOPPED,
    TOO_LONG,
    Refusal,
    RunnerDiedError,
)
from promptmill.simulator.faults.rules import MID_STREAM, Fault, FaultKind
from promptmill.simulator.protocol.gojson import encode, quote, timestamp
from promptmill.simulator.protocol.styles import Ending, Style
from promptmill.simulator.protocol.wire import Exchange

_NO_JSON = '{"model":"\n'
"""A line of an answer that was cut on its way."""
_LONG_REASON = "The model has said what there was to say. ".ljust(200, ".")
_ODD_COUNT = 2**63 - 1
"""Two of them are more than a column of a database holds."""
_ODD_LOGPROBS = ",".join(
    f'{{"token":"x","logprob":{number}}}' for number in ("-Infinity", "NaN", "1e999")
)
"""As gateways written in Python send them."""

_OPEN_ENDED = 10
"""An answer without a limit ends after so many times `num_ctx`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A checked request for text, whatever route it came by."""

    model: StoredModel
    style: Style
    prompt: str
    """Source that determines the answer."""
    prompt_tokens: int
    wanted: Wanted
    started_ns: int
    """When the handler began (of the performance counter)."""
    stream: bool = True
    keep_alive_s: float | None = None
    bad_format: object | None = None
    """A `format` that is neither `"json"` nor a schema; refused only once the model is loaded."""
    template: str = ""
    truncate: bool = True
    shift: bool = True
    has_context: bool = False
    """Whether the last piece carries `context`."""
    top_logprobs: int | None = None
    """Alternatives in `logprobs`; None is without `logprobs`."""
    only_load: bool = False
    """There is no prompt: the model is loaded, nothing is said."""


async def answer_text_request(
    server: ServerState, exchange: Exchange, request: TextRequest, fault: Fault | None
) -> None:
    """Get the model, a slot in it, and say the answer."""
    call = exchange.call
    options = request.wanted.options
    call.num_ctx = options.runner.num_ctx
    runner = await server.scheduler.lease(
        request.model.spec,
        request.model.key,
        options.runner,
        keep_alive_s=request.keep_alive_s,
        failure=LOAD_OOM if fault is not None and fault.kind is FaultKind.OOM else None,
        anew=fault is not None and fault.kind is FaultKind.RELOAD,
    )
    load_ns = max(1, time.perf_counter_ns() - request.started_ns)
    try:
        if request.only_load:
            await exchange.answer(
                200, request.style.whole_type, request.style.without_text(timestamp(), "load")
            )
            return
        prompt = _Prompt(server, request, _check_with_runner(request))
        try:
            slot = await runner.take_slot(prompt.tokens)
        except RunnerDiedError:
            raise Refusal(500, RUNNER_GONE, late=True) from None
        server.log.take_slot(call)
        try:
            if fault is not None and fault.kind is FaultKind.STOPPED:
                raise Refusal(500, RUNNER_STOPPED, late=True)
            prompt.find_in(slot, fault, call)
            speech = _Speech(server, exchange, request, runner, fault, prompt, load_ns)
            await (speech.stream() if request.stream else speech.whole())
        except RunnerDiedError:
            await _lose(exchange, request)
        finally:
            runner.leave_slot(slot)
            server.log.leave_slot(call)
    finally:
        server.scheduler.release(runner)


def _check_with_runner(request: TextRequest) -> int:
    """The checks that come after the load; tokens of the prompt that fit into the window."""
    if request.template.count("{{") > request.template.count("}}"):
        raise Refusal(500, "template: :1: unclosed action")
    if request.bad_format is not None:
        shown = quote(encode(request.bad_format))
        text = f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
        raise Refusal(500, text, late=True)
    window = request.wanted.options.runner.num_ctx
    if request.prompt_tokens > window and not request.truncate:
        raise Refusal(400, TOO_LONG, late=True)
    return min(request.prompt_tokens, window)


async def _lose(exchange: Exchange, request: TextRequest) -> None:
    """The runner died in the middle: an error line if the stream has begun, else 500."""
    if not exchange.started:
        raise Refusal(500, RUNNER_LOST, late=True)
    exchange.call.outcome = "error_line"
    await exchange.finish(request.style.error_line(RUNNER_LOST))


class _Prompt:
    """The prompt of a request on its way through the prefix cache."""

    def __init__(self, server: ServerState, request: TextRequest, count: int) -> None:
        self.count = count
        """Tokens in the window, as `prompt_eval_count` says."""
        self.evaluated = count
        """Tokens whose evaluation takes time."""
        self.tokens: list[str] = []
        """The tokens themselves; none where the cache is off or would spare no time."""
        self._slot: Slot | None = None
        self._window = request.wanted.options.runner.num_ctx
        self._timed = not math.isinf(request.model.spec.speed.prefill_tokens_per_s)
        if server.settings.prefix_cache and self._timed:
            self.tokens = prompt_tokens_of(request.prompt, request.prompt_tokens, self._window)

    def find_in(self, slot: Slot, fault: Fault | None, call: Call) -> None:
        """Look up how much of it the slot has cached; the slot forgets the rest of what it had."""
        cached = slot.shared(self.tokens)
        if self.tokens:
            self._slot = slot
            slot.held = self.tokens[:cached]
        if fault is not None and fault.kind is FaultKind.CACHE_HIT:
            cached = self.count
        self.evaluated = self.count - min(cached, self.count - 1)
        call.prompt_tokens = self.count
        if self._timed:
            call.cached_tokens = self.count - self.evaluated

    def hold(self, answer: Sequence[str] = ()) -> None:
        """The slot has evaluated the prompt, and has said this answer to it."""
        if self._slot is not None:
            said = words_of("".join(answer)) if answer else []
            self._slot.held = [*self.tokens, *said][: self._window]


class _Speech:
    """One answer while it is being said."""

    def __init__(
        self,
        server: ServerState,
        exchange: Exchange,
        request: TextRequest,
        runner: Runner,
        fault: Fault | None,
        prompt: _Prompt,
        load_ns: int,
    ) -> None:
        self._server = server
        self._exchange = exchange
        self._request = request
        self._runner = runner
        self._style = request.style
        self._prompt = prompt
        self._load_ns = load_ns
        self._fault = fault if fault is not None and fault.kind in MID_STREAM else None
        self._without_done = fault is not None and fault.kind in {
            FaultKind.NO_DONE,
            FaultKind.REPEAT,
        }
        self._spoilt = fault.kind if fault is not None else None
        options = request.wanted.options
        window = options.runner.num_ctx
        limit = options.num_predict if options.num_predict > 0 else _OPEN_ENDED * window
        if not request.shift:
            limit = min(limit, window - prompt.count + 1)
        self._answer: Answer = compose(
            request.model.key,
            request.prompt,
            request.wanted,
            limit=limit,
            settings=server.settings,
            fault=fault,
        )
        speed = request.model.spec.speed
        self._first_s = speed.first_token_s(prompt.evaluated)
        if fault is not None and fault.kind is FaultKind.SLOW_START:
            self._first_s += fault.seconds or 0.0
        self._rate = speed.decode_rate(runner.busy)
        self._slot_ns = time.perf_counter_ns()
        self._first_ns = 0
        self._last_ns = 0

    async def stream(self) -> None:
        """Say it piece by piece."""
        if self._first_s > 0:
            await self._runner.pause(self._first_s)
        self._first_ns = time.perf_counter_ns()
        self._prompt.hold()
        answer = self._answer
        tokens = self._spoken_tokens()
        tail = await self._say_in_time(tokens)
        self._last_ns = time.perf_counter_ns()
        exchange = self._exchange
        if self._fault is not None and self._fault.kind is not FaultKind.NO_DONE:
            if tail:
                await self._begin()
                await exchange.write(tail)
            await self._strike(self._fault)
            tail = await self._say_in_time(self._all_tokens(), said=len(tokens))
            self._last_ns = time.perf_counter_ns()
        self._prompt.hold(self._all_tokens())
        await self._begin()
        if self._without_done:
            exchange.call.outcome = "no_done"
            await exchange.finish(tail)
        else:
            last = self._style.last(timestamp(), self._ending(""), answer.tool_calls)
            await exchange.finish(tail + last)

    async def whole(self) -> None:
        """Say it at once, when the last token would have come."""
        answer = self._answer
        count = len(self._spoken_tokens())
        await self._runner.pause(self._first_s + max(0, count - 1) / self._rate)
        if self._fault is not None:
            if self._fault.kind is FaultKind.NOT_JSON:
                self._exchange.call.outcome = "broken"
                await self._exchange.answer(200, self._style.whole_type, _NO_JSON)
                return
            await self._strike(self._fault)
            await self._runner.pause((len(self._all_tokens()) - count) / self._rate)
        self._last_ns = time.perf_counter_ns()
        self._prompt.hold(self._all_tokens())
        self._first_ns = min(self._last_ns, self._slot_ns + int(self._first_s * 1e9))
        text = quote("".join(answer.tokens))
        thinking = quote("".join(answer.thinking)) if answer.thinking else ""
        ending = None
        if self._without_done:
            self._exchange.call.outcome = "no_done"
        else:
            top = self._request.top_logprobs
            items = [] if top is None else logprob_items(answer.tokens, top)
            ending = self._ending(",".join(items))
        written = self._style.whole(timestamp(), text, thinking, ending, answer.tool_calls)
        await self._exchange.answer(200, self._style.whole_type, written)

    async def _begin(self) -> None:
        if not self._exchange.started:
            await self._exchange.start(200, self._style.stream_type)

    def _all_tokens(self) -> list[str]:
        return [*self._answer.thinking, *self._answer.tokens]

    def _spoken_tokens(self) -> list[str]:
        """Tokens before a fault strikes; all without a fault."""
        tokens = self._all_tokens()
        return tokens if self._fault is None else tokens[: self._fault.after]

    async def _say_in_time(self, tokens: list[str], *, said: int = 0) -> str:
        """Write the tokens after the first `said`, each when it is due, the next one now.

        The lines of the last tokens are returned.
        """
        if math.isinf(self._rate):
            return self._lines(tokens[said:], said)
        count, start = len(tokens), time.monotonic() - said / self._rate
        interval = self._server.settings.write_interval_s
        while True:
            now = time.monotonic() - start
            # What a pause would end too early for is said now.
            due = min(count, 1 + int((now + TOLERANCE_S) * self._rate))
            lines = self._lines(tokens[said:due], said)
            said = due
            if said >= count:
                return lines
            await self._begin()
            await self._exchange.write(lines)
            now = time.monotonic() - start
            last_due = (count - 1) / self._rate - now
            await self._runner.pause(min(max(said / self._rate - now, interval), last_due))

    def _lines(self, tokens: Sequence[str], place: int) -> str:
        """Pieces of a stream; `place` is the number of tokens sent before."""
        created = timestamp()
        piece = self._style.piece
        thoughts = len(self._answer.thinking)
        top = self._request.top_logprobs
        if top is None and not thoughts:
            return "".join(
                [
                    piece(created, QUOTED.get(token) or quote(token), thinking=False, logprobs="")
                    for token in tokens
                ]
            )
        items = [""] * len(tokens) if top is None else logprob_items(tokens, top)
        return "".join(
            [
                piece(created, quote(token), thinking=place + step < thoughts, logprobs=item)
                for step, (token, item) in enumerate(zip(tokens, items, strict=True))
            ]
        )

    async def _strike(self, fault: Fault) -> None:
        """A fault in mid-answer; returns only if the answer goes on after it."""
        match fault.kind:
            case FaultKind.NOT_JSON:
                self._exchange.call.outcome = "broken"
                await self._begin()
                await self._exchange.write(_NO_JSON)
            case FaultKind.CUT:
                await self._exchange.cut()
            case FaultKind.STALL:
                await self._runner.pause(fault.seconds)
            case FaultKind.CRASH:
                self._server.scheduler.kill(self._runner.key)
                raise RunnerDiedError
            case FaultKind.CRASH_ALL:
                self._server.scheduler.kill()
                raise RunnerDiedError
            case FaultKind.ERROR:
                raise RunnerDiedError
            case _:
                return

    def _ending(self, logprobs: str) -> Ending:
        answer = self._answer
        # The first token belongs to the prompt's time, so one token alone has no duration.
        spoke = max(1, self._last_ns - self._first_ns) if answer.eval_tokens > 1 else 0
        numbers = self._prompt.count + answer.eval_tokens - 1
        ending = Ending(
            done_reason=answer.done_reason,
            total_ns=time.perf_counter_ns() - self._request.started_ns,
            load_ns=self._load_ns,
            prompt_tokens=self._prompt.count,
            prompt_ns=max(1, self._first_ns - self._slot_ns),
            eval_tokens=answer.eval_tokens,
            eval_ns=spoke,
            context=context_numbers(numbers) if self._request.has_context else "",
            logprobs=logprobs,
        )
        if self._spoilt is FaultKind.LONG_REASON:
            ending.done_reason = _LONG_REASON
        if self._spoilt is FaultKind.ODD_NUMBERS:
            ending.prompt_tokens = ending.eval_tokens = ending.total_ns = _ODD_COUNT
            ending.logprobs = _ODD_LOGPROBS
        return ending


def prompt_size(tokens: int, *, raw: bool = False) -> int:
    """Tokens of a rendered prompt whose texts have `tokens`."""
    return tokens + (1 if raw else TEMPLATE_TOKENS)
