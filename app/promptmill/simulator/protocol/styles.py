"""Forms of text answers: the native ones of /api/generate and /api/chat.

A style turns pieces of text into lines and knows the order of the keys. Metrics that are 0 are left
out, as by Go's `omitempty`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from promptmill.simulator.protocol.gojson import quote
from promptmill.simulator.protocol.wire import JSON, NDJSON

NO_TEXT = '""'


@dataclass(slots=True, kw_only=True)
class Ending:
    """End of an answer, with its metrics; durations in nanoseconds."""

    done_reason: str
    total_ns: int
    load_ns: int
    prompt_tokens: int
    prompt_ns: int
    eval_tokens: int
    eval_ns: int
    context: str = ""
    """The numbers of `context`, joined by commas; empty if the request has none."""
    logprobs: str = ""
    """The items of `logprobs`, joined by commas."""

    def metrics(self) -> str:
        """The metrics as members of an object, with a comma before each."""
        return "".join(
            [
                f',"{name}":{value}'
                for name, value in (
                    ("total_duration", self.total_ns),
                    ("load_duration", self.load_ns),
                    ("prompt_eval_count", self.prompt_tokens),
                    ("prompt_eval_duration", self.prompt_ns),
                    ("eval_count", self.eval_tokens),
                    ("eval_duration", self.eval_ns),
                )
                if value
            ]
        )


class Style(Protocol):
    """Form of one route's answers. Texts arrive quoted as JSON strings."""

    stream_type: bytes
    """Media type of a streamed answer."""
    whole_type: bytes
    """Media type of an unstreamed answer."""

    def piece(self, created: str, text: str, *, thinking: bool, logprobs: str) -> str:
        """Line of a stream."""
        ...

    def last(self, created: str, ending: Ending, tool_calls: str) -> str:
        """End of a stream."""
        ...

    def whole(
        self, created: str, text: str, thinking: str, ending: Ending | None, tool_calls: str
    ) -> str:
        """Unstreamed answer; without an ending it has `done:false`."""
        ...

    def without_text(self, created: str, done_reason: str) -> str:
        """Answer to an empty prompt: the model was loaded or unloaded."""
        ...

    def error_line(self, message: str) -> str:
        """Error inside a stream that has begun."""
        ...


class _NativeStyle:
    """Common parts of the two native routes."""

    stream_type = NDJSON
    whole_type = JSON

    def __init__(self, model: str) -> None:
        self._head = f'{{"model":{quote(model)},"created_at":"'

    def error_line(self, message: str) -> str:
        """An error inside a stream that has begun."""
        return f'{{"error":{quote(message)}}}\n'


class GenerateStyle(_NativeStyle):
    """The shape of /api/generate."""

    def piece(self, created: str, text: str, *, thinking: bool, logprobs: str) -> str:
        """A piece of a stream."""
        said = f'{NO_TEXT},"thinking":{text}' if thinking else text
        after = f',"logprobs":[{logprobs}]' if logprobs else ""
        return f'{self._head}{created}","response":{said},"done":false{after}}}\n'

    def last(self, created: str, ending: Ending, tool_calls: str) -> str:
        """The line with `done:true`."""
        return self._closed(created, NO_TEXT, "", ending, tool_calls) + "\n"

    def whole(
        self, created: str, text: str, thinking: str, ending: Ending | None, tool_calls: str
    ) -> str:
        """An unstreamed answer."""
        return self._closed(created, text, thinking, ending, tool_calls)

    def without_text(self, created: str, done_reason: str) -> str:
        """The answer to an empty prompt."""
        return f'{self._head}{created}","response":"","done":true,"done_reason":"{done_reason}"}}'

    def _closed(
        self, created: str, text: str, thinking: str, ending: Ending | None, tool_calls: str
    ) -> str:
        thought = f',"thinking":{thinking}' if thinking else ""
        start = f'{self._head}{created}","response":{text}{thought}'
        if ending is None:
            return f'{start},"done":false}}'
        context = f',"context":[{ending.context}]' if ending.context else ""
        called = f',"tool_calls":[{tool_calls}]' if tool_calls else ""
        logprobs = f',"logprobs":[{ending.logprobs}]' if ending.logprobs else ""
        return (
            f'{start},"done":true,"done_reason":"{ending.done_reason}"'
            f"{context}{ending.metrics()}{called}{logprobs}}}"
        )


class ChatStyle(_NativeStyle):
    """The shape of /api/chat."""

    def piece(self, created: str, text: str, *, thinking: bool, logprobs: str) -> str:
        """A piece of a stream."""
        message = self._message(NO_TEXT if thinking else text, text if thinking else "", "")
        after = f',"logprobs":[{logprobs}]' if logprobs else ""
        return f'{self._head}{created}",{message},"done":false{after}}}\n'

    def last(self, created: str, ending: Ending, tool_calls: str) -> str:
        """The line with `done:true`, after one with the tool calls if there are any."""
        before = ""
        if tool_calls:
            message = self._message(NO_TEXT, "", tool_calls)
            before = f'{self._head}{created}",{message},"done":false}}\n'
        return f"{before}{self._closed(created, NO_TEXT, '', ending, '')}\n"

    def whole(
        self, created: str, text: str, thinking: str, ending: Ending | None, tool_calls: str
    ) -> str:
        """An unstreamed answer."""
        return self._closed(created, text, thinking, ending, tool_calls)

    def without_text(self, created: str, done_reason: str) -> str:
        """The answer to an empty list of messages."""
        message = self._message(NO_TEXT, "", "")
        return f'{self._head}{created}",{message},"done":true,"done_reason":"{done_reason}"}}'

    def _message(self, text: str, thinking: str, tool_calls: str) -> str:
        thought = f',"thinking":{thinking}' if thinking else ""
        called = f',"tool_calls":[{tool_calls}]' if tool_calls else ""
        return f'"message":{{"role":"assistant","content":{text}{thought}{called}}}'

    def _closed(
        self, created: str, text: str, thinking: str, ending: Ending | None, tool_calls: str
    ) -> str:
        start = f'{self._head}{created}",{self._message(text, thinking, tool_calls)}'
        if ending is None:
            return f'{start},"done":false}}'
        logprobs = f',"logprobs":[{ending.logprobs}]' if ending.logprobs else ""
        return (
            f'{start},"done":true,"done_reason":"{ending.done_reason}"'
            f"{logprobs}{ending.metrics()}}}"
        )
