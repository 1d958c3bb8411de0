"""Refused requests: what a check raises, and the texts of the runner's errors.

A refusal is raised where the fault is found, and written by the application.
"""

from __future__ import annotations

BUSY = "server busy, please try again.  maximum pending requests exceeded"
"""The load queue is full. The two spaces are Ollama's."""

RUNNER_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an "
    "internal error, check ollama server logs for details"
)
"""The runner broke before it said anything."""

RUNNER_LOST = "an error was encountered while running the model: unexpected EOF"
"""The runner's process died while it was answering (as recorded)."""

RUNNER_GONE = "llama runner process no longer running: -1 "
"""The runner's process had died before the request got its slot (as recorded)."""

LOAD_OOM = "llama-server reported out-of-memory during startup: cudaMalloc failed: out of memory"
"""The model does not fit into the memory."""

TOO_LONG = "the input length exceeds the context length"
"""A prompt longer than `num_ctx` with `truncate: false`."""


class Refusal(Exception):  # noqa: N818  # an answer, not an error of this program
    """The request gets a status and a text instead of an answer."""

    def __init__(
        self, status: int, message: str, signin_url: str = "", *, late: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.late = late
        """Raised by the runner: a streamed request then gets other headers than from a check."""
        self.signin_url = signin_url
        """Only in the 401 of a cloud model."""


class RunnerDiedError(Exception):
    """The process that runs the model is gone; what it was doing is lost."""
