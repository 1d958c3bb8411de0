"""`promptmill hosts`: the Ollama hosts and their state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import print_json
from promptmill.cli.service.connection import DEFAULT_URL, Url, connected
from promptmill.display.texts import one_line

if TYPE_CHECKING:
    from promptmill.client import Host

_GIGABYTE = 1_000_000_000


Disable = Annotated[
    str | None,
    typer.Option(
        "--disable",
        metavar="HOST",
        help="Take this host (its address or id) out of service: what runs there may end.",
    ),
]
Enable = Annotated[
    str | None,
    typer.Option("--enable", metavar="HOST", help="Put this host back into service."),
]


def hosts(
    *,
    disable: Disable = None,
    enable: Enable = None,
    url: Url = DEFAULT_URL,
) -> None:
    """List the Ollama hosts: reachable, loaded, in flight, put aside and why."""
    with connected(url) as client:
        found = client.hosts()
        for wanted, enabled in ((disable, False), (enable, True)):
            if wanted is not None:
                place = _place_of(wanted, found)
                host_id = found[place].id or ""
                changed = client.update_host(host_id, enabled=enabled)
                found = (*found[:place], changed, *found[place + 1 :])
    if mode().as_json:
        for host in found:
            print_json(host)
        return
    times = Counter(host.url for host in found)
    print_list(
        ["host", "state", "version", "in flight", "models", "loaded", "calls", "failed", "latency"],
        [
            [
                one_line(f"{host.url} of {host.machine}" if times[host.url] > 1 else host.url, 190),
                state_of(host),
                one_line(host.version, 20),
                f"{host.in_flight}/{host.slots or '-'}",
                _number(host.models),
                ", ".join(_loaded(host)),
                _number(host.calls),
                str(host.failed or ""),
                "" if host.latency_s is None else f"{host.latency_s:.2f} s",
            ]
            for host in found
        ],
        [
            one_line(host.quarantine.reason if host.quarantine else host.error, 400)
            for host in found
        ],
    )


def _place_of(wanted: str, found: Sequence[Host]) -> int:
    """Index in the list of the host with that address or id."""
    address = wanted.rstrip("/")
    places = [
        place
        for place, host in enumerate(found)
        if host.id and address in {host.id, host.url, host.url.partition("://")[2]}
    ]
    if len(places) == 1:
        return places[0]
    known = ", ".join(f"{host.url} ({host.id})" for host in found if host.id) or "none yet"
    what = "Several hosts have" if places else "No host has"
    raise typer.BadParameter(
        f"{what} the address or id {one_line(wanted, 200)}; there are: {known}"
    )


def state_of(host: Host) -> str:
    """State of a host in a word or two."""
    if not host.enabled:
        return "out of service"
    if host.quarantine is not None:
        return f"aside, {host.quarantine.next_look_s:.1f} s"
    if not host.reachable:
        return "unreachable"
    if host.held_by is not None:
        return "benchmark"
    return "on trial" if host.on_trial else "ready"


def _loaded(host: Host) -> list[str]:
    """Loaded models of a reachable host, with their shares on graphics cards."""
    if not host.reachable:
        return []
    return [
        f"{one_line(model.name, 60)} {_size(model.size)}"
        + (f" ({model.size_vram / model.size:.0%} VRAM)" if model.size else "")
        for model in host.loaded_models or ()
    ]


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= _GIGABYTE / 10 else f"{number / 1e6:.0f} MB"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
