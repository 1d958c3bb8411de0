"""Estimated end of a batch, computed from measured call times.

docs/forecasts.md states the rules in words. A batch that runs alone is extrapolated from its latest
results. Any other batch's work is converted to seconds of its hosts, and so is that of the batches
before it.

Pure: measurements are arguments, seconds are returned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from promptmill.domain.limits import Limits

_MOST_IN_RATE = 100
"""The most results that a rate is computed from."""
_RELIABLE = 5
"""The fewest results from which a measured rate is preferred to a computed one."""
_LEAST_CALL_S = 1e-6
_ALIKE = 1.01
_SHORT_TURN = 4
"""The factor by which the turns of a group of lower priority are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The last results of a running batch."""

    results: int
    since_ms: int
    """The moment since which these results came."""

    def rate(self, now_ms: int) -> float | None:
        """Results per second; it falls while time passes without one. None before the first."""
        passed_ms = now_ms - self.since_ms
        return self.results * 1000 / passed_ms if self.results and passed_ms > 0 else None

    @property
    def is_reliable(self) -> bool:
        """Whether the window has enough results to extrapolate from."""
        return self.results >= _RELIABLE


def results_in_window(stored: int, running: int) -> int:
    """Number of latest results to compute the rate from, of those since the last start.

    Half of them, so that the start (loading a model) is soon left behind, and at most a hundred;
    but at least two rounds of the running prompts, because prompts finish in bursts. If that is all
    results, the rate counts from the last start.
    """
    return min(stored, max(min(stored // 2, _MOST_IN_RATE), 2 * running, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The remaining work of a batch that may start prompts."""

    key: int
    prompts: int
    """Prompts without an outcome."""
    priority: int
    limits: Limits
    models: frozenset[str]
    """The normalised names of the batch's models."""
    groups: frozenset[int]
    """The load groups of the batch's prompts."""
    waits_since_ms: int
    """The moment of the batch's last start, or of its submission."""
    prompts_per_call: int = 1
    """Most prompts that share a call: above 1 for texts to embed."""

    @property
    def calls(self) -> int:
        """The fewest calls that the prompts need; limits, slots and measured times count calls."""
        return -(-self.prompts // self.prompts_per_call)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastHost:
    """Host that takes work."""

    slots: int | None
    """Most calls in flight at the host; None: no limit."""
    call_s: Mapping[str, float]
    """Measured seconds of a call by model, without loading the model."""
    turns: Mapping[int, float] = field(default_factory=dict[int, float])
    """The load groups that the host runs now, each with the seconds of its turn so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastInputs:
    """Waiting and running work, and the hosts, at one moment."""

    demands: Mapping[int, Demand]
    """Remaining work by the key of the batch."""
    places: Sequence[ForecastHost]
    turn_s: float
    """Seconds of a group's turn at a host while groups of equal priority wait."""


class Forecast:
    """Forecasts for the batches of one moment; intermediate values are computed once."""

    def __init__(self, outlook: ForecastInputs) -> None:
        self.outlook = outlook
        self._rivals: dict[_Kind, _Rivals | None] = {}

    def seconds_left(self, demand: Demand, *, rate: float | None = None) -> float | None:
        """Seconds until the batch ends; None without a measurement.

        `rate` is the batch's own results per second, if it is reliable.
        """
        measured_s = demand.prompts / rate if rate else None
        kind = (demand.models, demand.groups)
        if kind not in self._rivals:
            self._rivals[kind] = _rivals(kind, self.outlook)
        rivals = self._rivals[kind]
        if rivals is None:
            return measured_s
        pool = rivals.pool
        alone_s = pool.alone_s(demand)
        through_s = max(_until_through(pool.work_s(demand), rivals.beside(demand)), alone_s)
        before_s = sum(
            _turns_before(demand, rivals, others, through_s=through_s, turn_s=self.outlook.turn_s)
            for others in rivals.in_turns
        )
        if measured_s is not None and not before_s and through_s <= _ALIKE * alone_s:
            return measured_s
        return max(through_s, pool.call_s) + before_s


_Kind = tuple[frozenset[str], frozenset[int]]
"""Models and groups of a batch: batches with the same kind run at the same hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Hosts of a batch: those that run its groups, else all that have its models."""

    places: tuple[int, ...]
    """Indexes of the hosts in the outlook."""
    slots: float
    """Slots of the hosts; infinite if one has no limit."""
    call_s: float
    """Seconds of a call; `slots / call_s` is the throughput."""

    def width(self, demand: Demand) -> float:
        """The mean number of calls that the batch alone could have in flight in the pool."""
        limits = demand.limits
        paced = self.call_s / limits.rate_limit_delay_s if limits.rate_limit_delay_s else math.inf
        return min(limits.max_concurrent, self.slots, paced)

    def alone_s(self, demand: Demand) -> float:
        """Seconds that the batch takes in the pool if nothing else runs."""
        return demand.calls * self.call_s / self.width(demand)

    def work_s(self, demand: Demand) -> float:
        """Seconds that the batch takes with all slots of the pool; 0 without a limit of slots."""
        return demand.calls * self.call_s / self.slots


def _pool(
    models: Iterable[str], groups: frozenset[int], places: Sequence[ForecastHost]
) -> _Pool | None:
    """Build the pool of a kind of batch; None if no host was measured with its models."""
    known = {
        number: fmean(measured)
        for number, place in enumerate(places)
        if (measured := [place.call_s[one] for one in models if one in place.call_s])
    }
    held = [number for number in known if places[number].turns.keys() & groups]
    chosen = tuple(held or known)
    if not chosen:
        return None
    slots = [places[number].slots for number in chosen]
    weights = [one or 1 for one in slots]
    per_s = sum(
        weight / max(known[number], _LEAST_CALL_S)
        for number, weight in zip(chosen, weights, strict=True)
    )
    return _Pool(
        places=chosen,
        slots=math.inf if None in slots else sum(weights),
        call_s=sum(weights) / per_s,
    )


class _Rival(NamedTuple):
    """Another batch's use of a batch's hosts; many batches may share one value."""

    priority: int
    work_s: float
    """Seconds of all slots of these hosts that the batch uses."""
    alone_s: float
    """Seconds that the batch takes if nothing else runs."""
    share: float
    """The largest share of these slots that the batch can use at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OtherGroup:
    """A load group that takes turns with the batch's own."""

    priority: int
    waits_since_ms: int
    so_far_s: float | None
    """Seconds that the group has had its turn; None without a turn now."""
    needed_s: float
    """Seconds at the hosts until all work of the group is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rivals:
    """The hosts of the batches of one kind, and the other work that uses the same hosts."""

    pool: _Pool
    so_far_s: float | None
    """Seconds that the batches' own group has had its turn; None without a turn now."""
    together: Mapping[int, _Rival]
    """Batches that may run at the same time, by key, including those of this kind."""
    alike: Mapping[_Rival, int]
    """The same batches, counted by equal values."""
    in_turns: Sequence[_OtherGroup]

    def beside(self, own: Demand) -> list[tuple[float, float]]:
        """Work before and beside a batch: seconds of all slots, and the share of the slots.

        A higher priority goes first with all of its work. Batches of equal priority take turns
        prompt by prompt, so that each has had as much as this batch when this batch is done.
        """
        most_s = self.pool.work_s(own)
        itself = self.together.get(own.key)
        found: list[tuple[float, float]] = []
        for one, number in self.alike.items():
            others = number - (one == itself)
            if others and one.priority >= own.priority:
                work_s = one.work_s if one.priority > own.priority else min(one.work_s, most_s)
                found.append((others * work_s, others * one.share))
        return found


def _rivals(kind: _Kind, outlook: ForecastInputs) -> _Rivals | None:
    models, groups = kind
    pool = _pool(models, groups, outlook.places)
    if pool is None:
        return None
    places = [outlook.places[number] for number in pool.places]
    # A host may run several groups at a time; the other groups share its slots.
    company = groups.union(*(place.turns for place in places if place.turns.keys() & groups))
    pools: dict[_Kind, _Pool] = {}
    rivals: dict[tuple[_Kind, int, int, Limits], _Rival | None] = {}
    together: dict[int, _Rival] = {}
    in_turns: dict[frozenset[int], list[tuple[Demand, _Rival]]] = {}
    for demand in outlook.demands.values():
        its_kind = (demand.models, demand.groups)
        if its_kind not in pools:
            # Models that were never measured are taken to be like the measured ones.
            pools[its_kind] = _pool(*its_kind, outlook.places) or pool
        alike = (its_kind, demand.calls, demand.priority, demand.limits)
        if alike not in rivals:
            rivals[alike] = _rival(demand, pools[its_kind], pool)
        rival = rivals[alike]
        if rival is None:
            continue
        if demand.groups & company:
            together[demand.key] = rival
        else:
            in_turns.setdefault(demand.groups, []).append((demand, rival))
    return _Rivals(
        pool=pool,
        so_far_s=_turn_so_far(groups, places),
        together=together,
        alike=Counter(together.values()),
        in_turns=[
            _OtherGroup(
                priority=max(demand.priority for demand, _ in others),
                waits_since_ms=min(demand.waits_since_ms for demand, _ in others),
                so_far_s=_turn_so_far(theirs, places),
                needed_s=max(
                    sum(rival.work_s for _, rival in others),
                    *(rival.alone_s for _, rival in others),
                ),
            )
            for theirs, others in in_turns.items()
        ],
    )


def _rival(demand: Demand, its: _Pool, wanted: _Pool) -> _Rival | None:
    """Compute a batch's use of the wanted hosts; None if it does not use them."""
    common = len(set(its.places) & set(wanted.places))
    if not common or not demand.prompts:
        return None
    width, alone_s = its.width(demand), its.alone_s(demand)
    # A batch's work is spread evenly over its hosts.
    share = width * common / len(its.places) / wanted.slots
    return _Rival(demand.priority, work_s=alone_s * share, alone_s=alone_s, share=share)


def _turn_so_far(groups: frozenset[int], places: Iterable[ForecastHost]) -> float | None:
    """Seconds of a group's turn so far; None when no host runs the group."""
    held = [place.turns[one] for place in places for one in groups & place.turns.keys()]
    return max(held) if held else None


def _until_through(own_s: float, others: Sequence[tuple[float, float]]) -> float:
    """Seconds until a batch's own work is done while the other batches use their share.

    The result is the least `t` with `t = own + sum(min(work, share * t))`: each other batch gets
    its share of the slots until its work is done. The batches are done in the order of the time
    that they need at their share.
    """
    waiting = sorted((one for one in others if one[1]), key=lambda one: one[0] / one[1])
    shares = sum(share for _, share in waiting)
    done_s = own_s
    for work_s, share in waiting:
        if shares < 1 and done_s / (1 - shares) <= work_s / share:
            return done_s / (1 - shares)
        done_s += work_s
        shares -= share
    return done_s


def _turns_before(
    own: Demand, rivals: _Rivals, others: _OtherGroup, *, through_s: float, turn_s: float
) -> float:
    """Seconds that another group uses the hosts until the batch has used them for `through_s`.

    The two alternate in turns, which are shorter for the lower priority; a group that is done has
    no more turns.
    """
    own_turn_s = turn_s / (_SHORT_TURN if others.priority > own.priority else 1)
    their_turn_s = turn_s / (_SHORT_TURN if others.priority < own.priority else 1)
    own_so_far_s = min(rivals.so_far_s or 0, own_turn_s)
    their_so_far_s = min(others.so_far_s or 0, their_turn_s)
    if rivals.so_far_s is not None or others.so_far_s is not None:
        begins = rivals.so_far_s is not None
    else:
        begins = (-own.priority, own.waits_since_ms) <= (-others.priority, others.waits_since_ms)
    turns = math.ceil((through_s + own_so_far_s) / own_turn_s) - begins
    return min(others.needed_s, max(turns * their_turn_s - their_so_far_s, 0))
