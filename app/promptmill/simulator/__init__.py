"""Simulated Ollama server, for trying the service without a model and for measuring it in tests.

It implements Ollama's protocol (version 0.24.0) independently and imports nothing else of the
package. In a test or a demo:

    settings = SimulatorSettings(models=(ModelSpec(name="tiny", speed=Speed()),), num_parallel=4)
    simulator = create_simulator(settings)
    async with running(simulator) as url:  # "http://127.0.0.1:54321"; settings alone are fine too
        ...  # any Ollama client
    assert simulator.stats()["peak_in_flight"] <= 4

`running_in_thread` does the same for code that is not asynchronous. `create_simulator` alone is
an ASGI application for any server, which then cannot refuse or reset connections.

An answer is a pure function: `answer_text("tiny", prompt)` is what the simulator says to that
prompt, so a test can tell whether a result belongs to its prompt. The words that bring
faults on (`[[fault:cut]]`) are in `simulator.faults.rules`; the log of calls is at
`/simulator/calls` and `/simulator/stats`, and in `Simulator.calls` and `Simulator.stats()`.
"""

from __future__ import annotations

from promptmill.simulator.app import Simulator
from promptmill.simulator.engine.calls import Call, CallLog, ModelTally, Tally, prompt_hash
from promptmill.simulator.engine.catalog import DEFAULT_MODELS, PULLABLE_MODELS, plain_model
from promptmill.simulator.engine.text import answer_text, chat_prompt, rendered_prompt
from promptmill.simulator.engine.vectors import embedding
from promptmill.simulator.faults.access import Refusing
from promptmill.simulator.faults.rules import MIXED, Fault, FaultKind, FaultRule, FaultSyntaxError
from promptmill.simulator.server import new_event_loop, running, running_in_thread
from promptmill.simulator.settings import PROFILES, ModelSpec, SimulatorSettings, Speed

__all__ = [
    "DEFAULT_MODELS",
    "MIXED",
    "PROFILES",
    "PULLABLE_MODELS",
    "Call",
    "CallLog",
    "Fault",
    "FaultKind",
    "FaultRule",
    "FaultSyntaxError",
    "ModelSpec",
    "ModelTally",
    "Refusing",
    "Simulator",
    "SimulatorSettings",
    "Speed",
    "Tally",
    "answer_text",
    "chat_prompt",
    "create_simulator",
    "embedding",
    "new_event_loop",
    "plain_model",
    "prompt_hash",
    "rendered_prompt",
    "running",
    "running_in_thread",
]


def create_simulator(settings: SimulatorSettings | None = None) -> Simulator:
    """A simulated server as an ASGI application, without a port."""
    return Simulator(settings)
