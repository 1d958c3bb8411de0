"""State of one simulated server, passed to every route."""

from __future__ import annotations

import time
from collections.abc import Callable

from promptmill.simulator.engine.calls import CallLog
from promptmill.simulator.engine.catalog import DEFAULT_MODELS, PULLABLE_MODELS, Catalog
from promptmill.simulator.engine.scheduler import Scheduler
from promptmill.simulator.faults.rules import Fault, FaultBook
from promptmill.simulator.protocol.names import name_key
from promptmill.simulator.protocol.wire import Exchange
from promptmill.simulator.settings import SimulatorSettings


class ServerState:
    """Models, loaded models, faults and the log of calls."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.check_host = settings.check_host
        self.refuses = settings.refuses
        """Response to every request in Ollama's place; may be changed while the server runs."""
        self.catalog = Catalog(
            settings.models or DEFAULT_MODELS,
            settings.pullable or (() if settings.models else PULLABLE_MODELS),
            time.time_ns(),
        )
        self.log = CallLog(settings.calls_kept, settings.log_path)
        self.scheduler = Scheduler(settings, self.log)
        self.faults = FaultBook(settings.faults, settings.seed)
        self.refuse_connections: Callable[[float], None] | None = None
        """Set by the server underneath: close the port for so many seconds."""

    def announce(
        self,
        exchange: Exchange,
        model_sent: str,
        prompt: str,
        *,
        stream: bool,
        keep_alive_s: float | None,
    ) -> Fault | None:
        """Log that the call asks a model for an answer, and return the fault that strikes it."""
        call = exchange.call
        call.stream = stream
        call.keep_alive_s = keep_alive_s
        key = name_key(model_sent)
        attempt = self.log.name(call, key, prompt)
        fault = self.faults.for_call(key, prompt, attempt)
        if fault is not None:
            call.fault = fault.kind.value
        return fault
