"""The shapes of the `/v1` routes: chat completions, completions, and the refusals of both.

The ids repeat, as the real ones do (0 to 998), and an error inside a stream is swallowed.
"""

from __future__ import annotations

import time
from hashlib import blake2b

from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.gojson import quote
from promptmill.simulator.protocol.styles import NO_TEXT, Ending
from promptmill.simulator.protocol.wire import BARE_JSON, EVENTS, JSON, Exchange

_IDS = 999
_TYPES = {400: "invalid_request_error", 404: "not_found_error"}

END = "data: [DONE]\n\n"


class BindingRefusal(Refusal):
    """A refusal by the `/v1` layer itself: other headers than one of the route behind it."""


async def refuse_as_openai(exchange: Exchange, refusal: Refusal) -> None:
    """Write a refusal as the routes under /v1 do."""
    exchange.call.outcome = "refused"
    kind = _TYPES.get(refusal.status, "api_error")
    text = (
        f'{{"error":{{"message":{quote(refusal.message)},"type":"{kind}",'
        '"param":null,"code":null}}'
    )
    if isinstance(refusal, BindingRefusal):
        await exchange.answer(refusal.status, JSON, text)
    else:
        await exchange.answer(refusal.status, BARE_JSON, text + "\n")


class _OpenAIStyle:
    """What the two text routes have in common."""

    stream_type = EVENTS
    whole_type = BARE_JSON
    prefix = ""
    kind = ""
    streamed_kind = ""

    def __init__(self, model: str, prompt: str, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        number = int.from_bytes(blake2b(prompt.encode("utf-8", "replace")).digest()[:4], "big")
        self._id = f'{{"id":"{self.prefix}-{number % _IDS}","object":"'
        self._rest = f',"model":{quote(model)},"system_fingerprint":"fp_ollama","choices":['

    def _head(self, kind: str) -> str:
        return f'{self._id}{kind}","created":{int(time.time())}{self._rest}'

    def _event(self, choices: str, after: str = "") -> str:
        return f"data: {self._head(self.streamed_kind)}{choices}]{after}}}\n\n"

    def _closing(self, ending: Ending) -> str:
        usage = self._event("", self._usage(ending)) if self._include_usage else ""
        return usage + END

    def _usage(self, ending: Ending) -> str:
        prompt, said = ending.prompt_tokens, ending.eval_tokens
        return (
            f',"usage":{{"prompt_tokens":{prompt},"completion_tokens":{said},'
            f'"total_tokens":{prompt + said}}}'
        )

    def error_line(self, message: str) -> str:  # noqa: ARG002  # swallowed, as the server does
        """An error inside a stream: the stream just ends, without the final events."""
        return ""


class ChatCompletionStyle(_OpenAIStyle):
    """The shape of /v1/chat/completions."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    streamed_kind = "chat.completion.chunk"

    def piece(self, created: str, text: str, *, thinking: bool, logprobs: str) -> str:  # noqa: ARG002  # a style
        """A piece of a stream."""
        said = f'{NO_TEXT},"reasoning":{text}' if thinking else text
        return self._event(self._delta(said, "null"))

    def last(self, created: str, ending: Ending, tool_calls: str) -> str:  # noqa: ARG002  # a style
        """The events that end a stream."""
        called = f',"tool_calls":[{tool_calls}]' if tool_calls else ""
        reason = '"tool_calls"' if tool_calls else f'"{ending.done_reason}"'
        return self._event(self._delta(NO_TEXT + called, reason)) + self._closing(ending)

    def whole(
        self,
        created: str,  # noqa: ARG002  # a style
        text: str,
        thinking: str,
        ending: Ending | None,
        tool_calls: str,
    ) -> str:
        """An unstreamed answer."""
        thought = f',"reasoning":{thinking}' if thinking else ""
        called = f',"tool_calls":[{tool_calls}]' if tool_calls else ""
        reason = "null" if ending is None else f'"{ending.done_reason}"'
        return (
            f'{self._head(self.kind)}{{"index":0,"message":{{"role":"assistant",'
            f'"content":{text}{thought}{called}}},"finish_reason":{reason}}}]'
            f"{self._usage(ending or _NOTHING)}}}\n"
        )

    def without_text(self, created: str, done_reason: str) -> str:
        """The answer to a chat without messages."""
        return self.whole(created, NO_TEXT, "", _ended(done_reason), "")

    def _delta(self, said: str, reason: str) -> str:
        return (
            f'{{"index":0,"delta":{{"role":"assistant","content":{said}}},'
            f'"finish_reason":{reason}}}'
        )


class CompletionStyle(_OpenAIStyle):
    """The shape of /v1/completions."""

    prefix = "cmpl"
    kind = "text_completion"
    streamed_kind = "text_completion"

    def piece(self, created: str, text: str, *, thinking: bool, logprobs: str) -> str:  # noqa: ARG002  # a style
        """A piece of a stream; this route does not show the thinking."""
        return self._event(self._choice(NO_TEXT if thinking else text, "null"))

    def last(self, created: str, ending: Ending, tool_calls: str) -> str:  # noqa: ARG002  # a style
        """The events that end a stream."""
        return self._event(self._choice(NO_TEXT, f'"{ending.done_reason}"')) + self._closing(ending)

    def whole(
        self,
        created: str,  # noqa: ARG002  # a style
        text: str,
        thinking: str,  # noqa: ARG002  # a style
        ending: Ending | None,
        tool_calls: str,  # noqa: ARG002  # a style
    ) -> str:
        """An unstreamed answer."""
        reason = "null" if ending is None else f'"{ending.done_reason}"'
        usage = self._usage(ending or _NOTHING)
        return f"{self._head(self.kind)}{self._choice(text, reason)}]{usage}}}\n"

    def without_text(self, created: str, done_reason: str) -> str:
        """The answer to an empty prompt."""
        return self.whole(created, NO_TEXT, "", _ended(done_reason), "")

    def _choice(self, text: str, reason: str) -> str:
        return f'{{"text":{text},"index":0,"finish_reason":{reason}}}'


def _ended(done_reason: str) -> Ending:
    return Ending(
        done_reason=done_reason,
        total_ns=0,
        load_ns=0,
        prompt_tokens=0,
        prompt_ns=0,
        eval_tokens=0,
        eval_ns=0,
    )


_NOTHING = _ended("stop")
