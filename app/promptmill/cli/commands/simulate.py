"""`promptmill simulate`: a simulated Ollama server, until it is stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from promptmill.cli.input.limit_option import finite
from promptmill.cli.service.event_loop import when_told_to_stop
from promptmill.simulator import (
    DEFAULT_MODELS,
    MIXED,
    PROFILES,
    PULLABLE_MODELS,
    FaultRule,
    FaultSyntaxError,
    ModelSpec,
    Refusing,
    SimulatorSettings,
    Speed,
    new_event_loop,
    plain_model,
    running,
)


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 11434,
    models: Annotated[
        str, typer.Option(help="Names of plain models, separated by commas, such as tiny,small.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help=f"Speed of every model: {', '.join(PROFILES)}.")
    ] = "",
    load_time: Annotated[
        float | None, typer.Option(callback=finite, help="Seconds to load a model.", min=0)
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(callback=finite, help="Fixed seconds of each request in its slot.", min=0),
    ] = None,
    text_time: Annotated[
        float | None,
        typer.Option(callback=finite, help="Fixed seconds of each text to embed.", min=0),
    ] = None,
    prefill: Annotated[
        float | None,
        typer.Option(callback=finite, help="Tokens of the prompt read per second.", min=0.001),
    ] = None,
    decode: Annotated[
        float | None,
        typer.Option(callback=finite, help="Tokens of the answer written per second.", min=0.001),
    ] = None,
    num_parallel: Annotated[int, typer.Option(help="Slots of each loaded model.", min=1)] = 1,
    max_queue: Annotated[
        int, typer.Option(help="Requests that may wait for a load before 503.", min=0)
    ] = 512,
    max_loaded: Annotated[int, typer.Option(help="Models loaded at a time.", min=1)] = 3,
    keep_alive: Annotated[
        float,
        typer.Option(
            callback=finite, help="Seconds that an idle model stays loaded; negative is for ever."
        ),
    ] = 300.0,
    context_length: Annotated[
        int, typer.Option(help="num_ctx of requests that name none.", min=4)
    ] = 4096,
    answer_tokens: Annotated[
        str, typer.Option(help="Least and most tokens of an answer, as 16-64.")
    ] = "16-64",
    fault_rate: Annotated[
        float,
        typer.Option(
            callback=finite, help="Share of the calls that go wrong, 0 to 1.", min=0, max=1
        ),
    ] = 0.0,
    fault_kinds: Annotated[
        str, typer.Option(help="What goes wrong at that rate: names separated by commas.")
    ] = ",".join(MIXED),
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A rule such as '503 rate=0.1 first=20 times=1'. May be repeated."),
    ] = None,
    refuses: Annotated[
        Refusing | None,
        typer.Option(help="Answer every request so, as a gateway or another program would."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which calls a fault rate hits.")] = 0,
    log: Annotated[
        Path | None, typer.Option(help="Append each call to this file as lines of JSON.")
    ] = None,
    *,
    no_prefix_cache: Annotated[
        bool,
        typer.Option(
            "--no-prefix-cache",
            help="Read each prompt whole, also what it shares with the one before in its slot.",
        ),
    ] = False,
) -> None:
    """Pretend to be an Ollama server, to try the service without one.

    It answers like Ollama, with slots, load queue, load times and faults on purpose, but the text
    means nothing. What was called is at /simulator/calls and /simulator/stats.
    """
    try:
        least, _, most = answer_tokens.partition("-")
        rules = (*_mixed(fault_rate, fault_kinds), *map(FaultRule.parse, fault or ()))
        settings = SimulatorSettings(
            models=_models(
                models,
                _speed_of(profile),
                load_s=load_time,
                request_s=latency,
                text_s=text_time,
                prefill_tokens_per_s=prefill,
                decode_tokens_per_s=decode,
            ),
            pullable=() if models else PULLABLE_MODELS,
            prefix_cache=not no_prefix_cache,
            num_parallel=num_parallel,
            max_queue=max_queue,
            max_loaded=max_loaded,
            keep_alive_s=keep_alive,
            context_length=context_length,
            answer_tokens=(int(least), int(most or least)),
            faults=rules,
            refuses=refuses,
            seed=seed,
            log_path=log,
        )
    except (FaultSyntaxError, ValueError, KeyError) as error:
        raise typer.BadParameter(str(error)) from error
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings, host, port))


def _speed_of(profile: str) -> Speed | None:
    if profile and profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}: choose from {', '.join(PROFILES)}")
    return PROFILES[profile] if profile else None


def _models(names: str, speed: Speed | None, **options: float | None) -> tuple[ModelSpec, ...]:
    """Build the models, each with its own speed except for fields given as options."""
    chosen = tuple(plain_model(name.strip()) for name in names.split(",") if name.strip())
    changes = {name: value for name, value in options.items() if value is not None}
    return tuple(
        replace(model, speed=replace(speed or model.speed, **changes))
        for model in chosen or DEFAULT_MODELS
    )


def _mixed(rate: float, kinds: str) -> tuple[FaultRule, ...]:
    """Build rules that together affect `rate` of the calls, each kind equally often."""
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    if not rate or not names:
        return ()
    # A rule only applies to calls that earlier rules have let through.
    return tuple(
        FaultRule(
            fault=FaultRule.parse(name).fault,
            rate=rate / len(names) / (1 - rate * place / len(names)),
        )
        for place, name in enumerate(names)
    )


async def _serve(settings: SimulatorSettings, host: str, port: int) -> None:
    """Run until SIGINT or SIGTERM, then drop every connection as Ollama does."""
    stopping = asyncio.Event()
    when_told_to_stop(stopping.set)
    async with running(settings, host=host, port=port) as url:
        names = ", ".join(model.name for model in settings.models)
        typer.echo(f"Simulated Ollama, not a real model, on {url} (models: {names})")
        await stopping.wait()
