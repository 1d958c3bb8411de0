"""The client without an event loop, for plain functions; they may be called inside a running one.

The one rule to know: it shares everything but the socket with `ollama.client`: the requests,
the reading of answers and the failure table. It is for one call at a time, not for speed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import httpx
from pydantic import ValidationError

from promptmill.domain.calls import Call
from promptmill.domain.hosts.credentials import Credentials
from promptmill.domain.outcomes import CallMetrics, Outcome
from promptmill.ollama import request as requests
from promptmill.ollama import wire
from promptmill.ollama.answer import Answer
from promptmill.ollama.failures.exceptions import Phase, failed_exception
from promptmill.ollama.failures.table import (
    Break,
    OllamaError,
    Timeout,
    failed_answer,
    failed_break,
    failed_pull,
    failed_request,
    failed_timeout,
)
from promptmill.ollama.models import PullProgress
from promptmill.ollama.transport import headers_with, tls_for

_OK = 200
_CONNECT_S = 5.0
_PULL_SILENCE_S = 900.0


class BlockingClient:
    """Requests to one server, each on a connection of its own."""

    def __init__(
        self, base_url: str, *, timeout_s: float, credentials: Credentials | None = None
    ) -> None:
        """`base_url` as `parse_ollama_host` gives it; `timeout_s` is for a whole request.

        Raises:
            CertificatesError: The certificates that the environment names cannot be read.
        """
        self.base_url = base_url
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._headers = headers_with(credentials)
        self._tls = tls_for(base_url)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that Ollama answers.

        Raises:
            OllamaError: There was none.
        """
        content = None if body is None else json.dumps(body).encode()
        try:
            with self._opened(method, path, content, self._timeout_s) as response:
                answer = cast("object", json.loads(response.read()))
        except (httpx.HTTPError, OSError) as error:
            raise self._translated(error) from error
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise OllamaError(failed_break(Break.NO_OLLAMA))
        return cast("dict[str, Any]", answer)

    def run(self, call: Call) -> Outcome:
        """Send one prompt and read its answer to the end; never raises."""
        try:
            body = requests.encode(call)
        except (TypeError, ValueError, RecursionError) as error:
            return failed_request(error)
        began_at = time.perf_counter()
        answer = Answer(chat=call.messages is not None)
        failed = None
        phase = Phase.ASKED
        try:
            with self._opened("POST", requests.path(call), body, call.timeout_s) as response:
                phase = Phase.ANSWERING
                for chunk in response.iter_bytes():
                    now = time.perf_counter()
                    if now - began_at > call.timeout_s:
                        failed = failed_timeout(self.base_url, Timeout.WHOLE_CALL, call.timeout_s)
                        break
                    if answer.feed(chunk, now):
                        break
                else:
                    answer.end(time.perf_counter())
        except OllamaError as error:
            failed = error.failed
        except (httpx.HTTPError, OSError) as error:
            failed = failed_exception(self.base_url, error, phase)
        if answer.done_at is not None:
            ttft_s = None if answer.began_at is None else answer.began_at - began_at
            return answer.succeeded(latency_s=answer.done_at - began_at, ttft_s=ttft_s)
        failed = failed or answer.failed or failed_break(Break.NO_DONE)
        return replace(failed, metrics=CallMetrics(latency_s=time.perf_counter() - began_at))

    def pull(self, model: str) -> Iterator[PullProgress]:
        """Fetch a model to the server; yields each line that it reports.

        Raises:
            OllamaError: The pull failed; an unknown model is `MODEL_NOT_FOUND`.
        """
        status: str | None = None
        content = json.dumps({"model": model}).encode()
        try:
            with self._opened("POST", "/api/pull", content, _PULL_SILENCE_S) as response:
                for text in response.iter_lines():
                    if not text.strip():
                        continue
                    line = wire.PullLine.model_validate_json(text)
                    if line.error is not None:
                        raise OllamaError(failed_pull(line.error))
                    status = line.status
                    yield line.progress()
        except (httpx.HTTPError, OSError) as error:
            raise self._translated(error) from error
        except ValidationError as error:
            raise OllamaError(failed_break(Break.NO_OLLAMA)) from error
        if status != "success":
            raise OllamaError(failed_break(Break.NO_SUCCESS))

    @contextlib.contextmanager
    def _opened(
        self, method: str, path: str, content: bytes | None, timeout_s: float
    ) -> Generator[httpx.Response, None, None]:
        """An answer with status 200, closed at the end."""
        timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        began_at = time.perf_counter()
        with (
            httpx.Client(verify=self._tls, trust_env=False, timeout=timeout) as client,
            client.stream(
                method, f"{self.base_url}{path}", content=content, headers=self._headers
            ) as response,
        ):
            if response.status_code != _OK:
                body = b""
                with contextlib.suppress(httpx.HTTPError):
                    body = response.read()
                after_s = time.perf_counter() - began_at
                failed = failed_answer(self.base_url, response.status_code, body, after_s=after_s)
                if self._credentials is not None:
                    told = self._credentials.strike_out(failed.message)
                    failed = replace(failed, message=told)
                raise OllamaError(failed)
            yield response

    def _translated(self, error: Exception) -> OllamaError:
        return OllamaError(failed_exception(self.base_url, error, Phase.ASKED))
