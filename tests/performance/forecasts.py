"""How true forecasts are: `eta_s` at several moments of a batch's life, beside what it really took.

    python -m tests.performance.forecasts [--scale 1.0]

Each row is a batch from its posting to its end: at 10, 30, 50 and 80 % of that time what was
foretold, divided by what was then still to come; 1 is perfect, 2 twice too long, `-` nothing was
foretold. Service and hosts are processes of their own. `--scale` makes fewer prompts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.performance.scheduling import SimulatedHost, post
from tests.proof.processes import Service, scratch

PROMPT_S = 0.2
SLOTS = 4
PROMPTS = 600
MOMENTS = (0.1, 0.3, 0.5, 0.8)
_APART_S = 0.1


@dataclass
class Watched:
    """A batch, and what was foretold of it when."""

    name: str
    id: str
    posted_at: float
    foretold: list[tuple[float, float | None]] = field(default_factory=list)
    ended_at: float | None = None

    def look(self, client: httpx.Client) -> None:
        batch = client.get(f"/batches/{self.id}", params={"limit": 0}).json()
        now = time.monotonic()
        if batch["finished_at"]:
            self.ended_at = now
        else:
            self.foretold.append((now, batch["eta_s"]))

    def row(self) -> str:
        assert self.ended_at is not None
        took_s = self.ended_at - self.posted_at
        cells: list[str] = []
        for moment in MOMENTS:
            at = self.posted_at + moment * took_s
            _, eta_s = min(self.foretold, key=lambda one: abs(one[0] - at))
            cells.append("-" if eta_s is None else f"{eta_s / (took_s * (1 - moment)):.2f}")
        return f"{self.name:48} | {took_s:>6.1f} s | " + " | ".join(f"{one:>5}" for one in cells)


class Stage:
    """A service before some hosts, with the batches that were posted."""

    def __init__(self, folder: Path, name: str, stack: ExitStack, *hosts: Sequence[str]) -> None:
        self.hosts = [
            SimulatedHost(
                folder,
                f"{name}-{number}",
                *("--profile", "instant", "--num-parallel", str(SLOTS), "--max-loaded", "1"),
                *options,
            )
            for number, options in enumerate(hosts)
        ]
        for host in self.hosts:
            stack.callback(host.command.stop)
        service = Service(
            folder=folder,
            name=f"serve-{name}",
            DATABASE_URL=f"sqlite:///{folder / name}.db",
            PROMPTMILL_OLLAMA_HOSTS=",".join(f"{host.url};slots={SLOTS}" for host in self.hosts),
        )
        stack.callback(service.stop)
        service.until_up()
        self.client = stack.enter_context(httpx.Client(base_url=service.url, timeout=90))
        self.batches: list[Watched] = []

    def post(self, name: str, prompts: int, model: str = "alpha", **fields: Any) -> Watched:
        wanted = {"model": model, "max_concurrent": 16, **fields}
        questions = [f"{name} {number}" for number in range(prompts)]
        one = Watched(name, post(self.client, questions, **wanted), time.monotonic())
        self.batches.append(one)
        return one

    def warm_up(self, *models: str) -> None:
        """Let every model be measured."""
        ids = [post(self.client, ["warm"] * SLOTS, model=one) for one in models]
        for each in ids:
            self.client.get(f"/batches/{each}", params={"limit": 0, "wait_s": 60})
        time.sleep(1.0)

    def until_ended(self, after: Callable[[float], None] | None = None) -> None:
        """Look at all batches until the last has ended; `after` is told the seconds meanwhile."""
        began = time.monotonic()
        while waiting := [one for one in self.batches if one.ended_at is None]:
            for one in waiting:
                one.look(self.client)
            if after is not None:
                after(time.monotonic() - began)
            time.sleep(_APART_S)


ONE_MODEL = ("--models", "alpha", "--load-time", "1", "--latency", str(PROMPT_S))
TWO_MODELS = ("--models", "alpha,beta", "--load-time", "1", "--latency", str(PROMPT_S))


def alone(stage: Stage, prompts: int) -> None:
    stage.post("one batch alone", prompts)
    stage.until_ended()


def equals(stage: Stage, prompts: int) -> None:
    stage.post("two equal batches: the first", prompts // 2)
    stage.post("two equal batches: the second", prompts // 2)
    stage.until_ended()


def unequal(stage: Stage, prompts: int) -> None:
    stage.post("a short beside a long one: the long one", prompts * 3 // 4)
    stage.post("a short beside a long one: the short one", prompts // 4)
    stage.until_ended()


def behind(stage: Stage, prompts: int) -> None:
    stage.post("a long one of higher priority", prompts * 3 // 4, priority=50)
    stage.post("the short one behind it", prompts // 4)
    stage.until_ended()


def models(stage: Stage, prompts: int) -> None:
    stage.warm_up("beta", "alpha")
    stage.post("two models, one kept: the first", prompts // 2, "alpha")
    stage.post("two models, one kept: the second", prompts // 2, "beta")
    stage.until_ended()


def paused(stage: Stage, prompts: int) -> None:
    one = stage.post("paused for 5 s in the middle", prompts)
    middle_s = prompts * PROMPT_S / SLOTS / 2
    done = {"pause": False, "resume": False}

    def steer(seconds: float) -> None:
        for name, at_s in (("pause", middle_s), ("resume", middle_s + 5)):
            if seconds >= at_s and not done[name]:
                stage.client.post(f"/batches/{one.id}/{name}").raise_for_status()
                done[name] = True

    stage.until_ended(steer)


def leaving(stage: Stage, prompts: int) -> None:
    stage.post("two hosts, one killed at a third", prompts)
    third_s = prompts * PROMPT_S / (2 * SLOTS) / 3
    killed: list[float] = []

    def kill(seconds: float) -> None:
        if seconds >= third_s and not killed:
            stage.hosts[1].command.kill()
            killed.append(seconds)

    stage.until_ended(kill)


SCENES: dict[str, tuple[Callable[[Stage, int], None], tuple[Sequence[str], ...]]] = {
    "alone": (alone, (ONE_MODEL,)),
    "equals": (equals, (ONE_MODEL,)),
    "unequal": (unequal, (ONE_MODEL,)),
    "behind": (behind, (ONE_MODEL,)),
    "models": (models, (TWO_MODELS,)),
    "paused": (paused, (ONE_MODEL,)),
    "leaving": (leaving, (ONE_MODEL, ONE_MODEL)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenes", nargs="*", help=f"of {', '.join(SCENES)}; without: all")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    prompts = max(round(PROMPTS * given.scale), 40)
    print(f"prompts of {PROMPT_S} s, {SLOTS} slots a host, a second to load a model")
    print(f"{'':48} | {'took':>8} | " + " | ".join(f"{moment:>5.0%}" for moment in MOMENTS))
    for name in given.scenes or SCENES:
        scene, hosts = SCENES[name]
        with scratch(f"forecast-{name}") as folder, ExitStack() as stack:
            stage = Stage(folder, name, stack, *hosts)
            scene(stage, prompts)
            for one in stage.batches:
                print(one.row(), flush=True)


if __name__ == "__main__":
    main()
