"""Event loop and signals of a process, on systems with and without uvloop.

Windows has neither uvloop nor signal handlers in the event loop; this module hides that.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a process to end: Ctrl-C, and that of a supervisor."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Fastest available event loop: uvloop's, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  # absent on some systems
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def when_told_to_stop(told: Callable[[], None], *, once: bool = False) -> None:
    """Call `told` in the running loop at each signal of `STOPPING`.

    With `once` only at the first; the next then ends the process as without a handler.
    """
    loop = asyncio.get_running_loop()

    def at_signal() -> None:
        if once:
            _look_away(loop)
        told()

    def at_signal_of_process(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(at_signal)

    for number in STOPPING:
        try:
            loop.add_signal_handler(number, at_signal)
        except NotImplementedError:
            signal.signal(number, at_signal_of_process)


def _look_away(loop: asyncio.AbstractEventLoop) -> None:
    for number in STOPPING:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
