"""Faults of the host under a whole worker: every prompt ends as promised, and nothing leaks.

What has to come of a prompt is told by the simulator's own log of calls: which attempts came, and
which fault struck each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain.batches import Batch, BatchDraft, PromptDraft, TaskResult
from promptmill.domain.calls import Call as OllamaCall
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import MOST_CRASHES
from promptmill.ollama.answer_checks import structured_output
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.health import PROMPTS_FAILED_IN_A_ROW
from promptmill.ollama.hosts import Host
from promptmill.runtime import open_resources
from promptmill.services import batches, control, workers
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import (
    Call,
    FaultKind,
    FaultRule,
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    answer_text,
    create_simulator,
    running,
)
from promptmill.worker.runner import working
from tests.worker.fault_promises import DEFECTS, PROMISES, Promise, faults

PAGE = Path(__file__).parents[2] / "docs" / "ollama-failures.md"
SLOTS = 8
CLEAN = 32
"""Prompts of a batch without faults: each slot is used several times."""
PATIENCE_S = 90
RECOVERY_S = 5
"""Seconds within which a host that was struck works at full speed again."""
SPEED = Speed(load_s=0.05, request_s=0.02)
WAITS_S = 1.0
"""The timeouts: far above what a call takes here, far below what a test may take."""

RULES = (
    "close rate=0.2",
    "reset rate=0.2",
    "refuse s=0.05 rate=0.03",
    "hang rate=0.05",
    "slow_start s=60 rate=0.03",
    "stall rate=0.03",
    "cut rate=0.2",
    "no_done rate=0.2",
    "repeat rate=0.2",
    "error rate=0.2",
    "not_json rate=0.2",
    "page rate=0.05",
    "bad_gateway rate=0.2",
    "proxy_503 rate=0.2",
    "proxy_504 rate=0.2",
    "proxy_524 rate=0.2",
    "502 rate=0.2",
    "503 rate=0.05",
    "429 rate=0.03",
    "401 rate=0.2",
    "403 rate=0.05",
    "404 rate=0.2",
    "400 rate=0.2",
    "500 rate=0.2",
    "oom rate=0.2",
    "crash rate=0.05",
    "crash_all rate=0.05",
    "empty rate=0.2",
    "empty_length rate=0.2",
    "bad_json rate=0.2",
    "length rate=0.2",
    "one_token rate=0.2",
    "reload rate=0.05",
    "cache_hit rate=0.2",
    "long_reason rate=0.2",
    "odd_numbers rate=0.2",
)
"""Each kind alone; those that cost everybody time are rarer."""

FORMATS = {FaultKind.BAD_JSON: {"format": "json"}}
"""What a batch has to ask for, so that the fault can show."""


POISON = "What is it that brings you down? [[fault:crash]]"


def kind_of(rule: str) -> FaultKind:
    return FaultRule.parse(rule).fault.kind


@dataclass
class Laboratory:
    """The use cases of one process with its worker, beside the host that goes wrong."""

    resources: Resources
    host: Simulator
    url: str

    async def submit(
        self, name: str, prompts: int, *, texts: Sequence[PromptDraft] = (), **fields: Any
    ) -> str:
        draft = BatchDraft(
            **{
                "prompts": texts or [PromptDraft(f"{name} {n}") for n in range(prompts)],
                "model": "tiny",
                "limits": Limits(max_concurrent=SLOTS, rate_limit_delay_s=0),
                **fields,
            }
        )
        return (await batches.submit(self.resources, draft)).batch.id

    async def ended(self, batch_id: str) -> Batch:
        found = await batches.wait_until_ended(self.resources, batch_id, timeout_s=PATIENCE_S)
        assert found.finished_at_ms is not None, f"still {found.state}: {found.counts}"
        return found

    async def results(self, batch_id: str) -> Sequence[TaskResult]:
        return (await batches.results_page(self.resources, batch_id, limit=1000)).results

    async def run(self, name: str, prompts: int, **fields: Any) -> Sequence[TaskResult]:
        batch_id = await self.submit(name, prompts, **fields)
        await self.ended(batch_id)
        results = await self.results(batch_id)
        assert [one.index for one in results] == list(range(prompts))
        return results

    def fail_by(self, *rules: str) -> None:
        """Put these faults in force, and no others."""
        self.host.state.faults.replace(tuple(map(FaultRule.parse, rules)))

    def calls_of(self, prompt: str) -> list[Call]:
        """The calls of a prompt that reached the host, in their order."""
        return [call for call in self.host.calls if call.prompt == prompt]

    async def clean_run(self, name: str) -> float:
        """Seconds that a batch takes without faults, in which every slot must be in use."""
        self.fail_by()
        await self.nothing_held()
        self.host.reset()
        began = time.monotonic()
        results = await self.run(name, CLEAN)
        took_s = time.monotonic() - began
        assert [one.response for one in results] == [answer_text("tiny", o.prompt) for o in results]
        assert {one.attempts for one in results} == {1}
        assert self.host.stats()["peak_in_flight"] == SLOTS, "a slot was lost"
        assert self.host.stats()["models"]["tiny:latest"]["peak_in_slots"] == SLOTS
        return took_s

    async def nothing_held(self) -> None:
        """Wait until neither the host nor the service holds a slot."""
        async with asyncio.timeout(RECOVERY_S):
            await self.host.until(lambda tally: tally.in_flight == 0)
            assert all(not one.in_slots for one in self.host.calls.tally.models.values())
            # What a worker holds is told by the database, which has no event for it.
            while any(one.in_flight for one in await workers.list_workers(self.resources)):
                await asyncio.sleep(0.01)


@pytest.fixture
def laboratory() -> Callable[..., Any]:
    """`async with laboratory(database_url) as lab`: a worker with short timeouts, and its host."""

    @contextlib.asynccontextmanager
    async def opened(database_url: str, **host: Any) -> AsyncIterator[Laboratory]:
        settings = SimulatorSettings(
            models=tuple(ModelSpec(name=name, speed=SPEED) for name in ("tiny", "small")),
            num_parallel=SLOTS,
            **host,
        )
        simulator = create_simulator(settings)
        async with running(simulator) as url:
            service = Settings(
                ollama_host=url,
                database_url=database_url,
                lease_s=10,
                heartbeat_s=0.5,
                poll_s=0.1,
                concurrency=SLOTS,
                drain_s=2,
                retry_base_s=0.01,
                retry_most_s=0.05,
                connect_timeout_s=WAITS_S,
                first_byte_timeout_s=WAITS_S,
                stall_timeout_s=WAITS_S,
            )
            async with open_resources(service) as resources, working(resources):
                yield Laboratory(resources, simulator, url)

    return opened


# --- what has to come of a prompt -----------------------------------------------------------------


def promises_for(call: Call, others: frozenset[ErrorCode]) -> list[Promise]:
    """What may have come of a call; `others` strikes calls beside the one that is struck."""
    beside = [Promise("beside another", code, Blame.ATTEMPT) for code in others]
    if call.fault:
        own = PROMISES[FaultKind(call.fault)]
        return [own] if call.outcome == "answered" else [own, *beside]
    if call.outcome != "answered":
        return beside
    # What the host has written whole may still be lost with a connection that another's fault broke.
    broken = beside if ErrorCode.HOST_UNREACHABLE in others else []
    return [Promise("nothing"), *broken]


def check(
    result: TaskResult,
    calls: Sequence[Call],
    *,
    others: frozenset[ErrorCode],
) -> int:
    """A prompt's result is what the calls of it must have led to; answers how many were charged.

    What fell with others, or with a host that was put aside, is not; whether that was so cannot be
    told from the log of one prompt.
    """
    told = f"{result} after {[(call.fault, call.outcome) for call in calls]}"
    *earlier, last = [promises_for(call, others) for call in calls]
    for promises in earlier:
        assert any(one.blame not in {None, Blame.PROMPT} for one in promises), told
    # There is no other host that a refusal could be left uncharged for.
    charged = sum(
        all(one.blame in {Blame.ATTEMPT, Blame.REFUSAL} for one in promises) for promises in earlier
    )
    if ErrorCode.HOST_UNREACHABLE in others or len(others) > 1:
        # A connection may break before its request has reached the host, whose log lacks it then.
        assert 1 <= result.attempts <= 3, told
    else:
        assert 1 <= result.attempts <= charged + 1, told
    assert result.error_code in {one.code for one in last}, told
    if result.error_code is None:
        assert result.status is TaskState.SUCCEEDED
        assert calls[-1].outcome == "answered", told
        return charged
    assert result.status is TaskState.FAILED
    assert result.error, told
    if {one.blame for one in last if one.code is result.error_code} <= {
        Blame.ATTEMPT,
        Blame.REFUSAL,
    }:
        assert result.attempts == 3, told  # the default of `max_attempts`
    return charged


def check_answer(result: TaskResult, kind: FaultKind | None) -> None:
    """A prompt that succeeded has its own answer, whole unless a fault cut it unnoticeably."""
    whole = answer_text("tiny", result.prompt)
    assert result.response is not None
    if kind in {FaultKind.LENGTH, FaultKind.ONE_TOKEN}:
        assert whole.startswith(result.response)
        assert result.response
        assert result.defect is DEFECTS.get(kind)
    else:
        assert (result.response, result.defect) == (whole, None)


def struck(calls: Sequence[Call]) -> FaultKind | None:
    return FaultKind(calls[-1].fault) if calls[-1].fault else None


# --- the table ------------------------------------------------------------------------------------


def test_every_fault_has_its_promise_and_its_row() -> None:
    assert set(PROMISES) == set(FaultKind)
    assert {*map(kind_of, RULES), FaultKind.PULL_ERROR} == set(FaultKind)
    marked = re.search(r"<!-- faults -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert marked is not None
    assert marked[1] == faults()


@pytest.mark.proof
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.PULL_ERROR])
async def test_a_call_that_is_struck_and_its_host_fare_as_promised(kind: FaultKind) -> None:
    rule = next(rule for rule in RULES if kind_of(rule) is kind)
    spec = ModelSpec(name="tiny", speed=Speed())
    fault = FaultRule.parse(rule.partition(" rate=")[0])
    timeouts = Timeouts(first_byte_s=0.2, between_chunks_s=0.2)
    call = OllamaCall(model="tiny", prompt="Hello?", parameters=FORMATS.get(kind, {}))
    others = [replace(call, prompt=f"Hello {n}?") for n in range(1, PROMPTS_FAILED_IN_A_ROW)]
    promise = PROMISES[kind]
    async with running(SimulatorSettings(models=(spec,), faults=(fault,))) as url:
        client = OllamaClient(url, timeouts=timeouts)
        host = Host(client)
        outcome: Outcome = await host.run(call)
        assert host.available is (promise.aside_after != 1)
        await asyncio.gather(*map(host.run, others))
        assert host.available is (promise.aside_after is None)
        await client.aclose()
    if isinstance(outcome, Succeeded):
        outcome = structured_output.judge(outcome, call, fail_on=None)
    got = (outcome.code, outcome.blame) if isinstance(outcome, Failed) else (None, None)
    assert got == (promise.code, promise.blame)
    if isinstance(outcome, Succeeded):
        assert outcome.defect is DEFECTS.get(kind)


# --- each alone, and all together -----------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.parametrize("rule", RULES)
async def test_under_each_fault_every_prompt_ends_as_promised(
    laboratory: Any, sqlite_url: str, rule: str
) -> None:
    kind, promise = kind_of(rule), PROMISES[kind_of(rule)]
    async with laboratory(sqlite_url) as lab:
        lab.fail_by(rule)
        results = await lab.run("Question", 64, parameters=FORMATS.get(kind, {}))
        hits = [call for call in lab.host.calls if call.fault == kind]
        calls = [lab.calls_of(one.prompt) for one in results]
        assert len(hits) >= 2, "the fault hardly struck"
        may_be_charged = 0
        for result, own in zip(results, calls, strict=True):
            may_be_charged += check(result, own, others=promise.others)
            if result.status is TaskState.SUCCEEDED and kind is FaultKind.BAD_JSON:
                assert json.loads(result.response or "")["answer"]
            elif result.status is TaskState.SUCCEEDED:
                check_answer(result, struck(own))
        if promise.blame is Blame.ATTEMPT and not promise.others:
            # That all calls in flight fail at once by chance is seldom, but not where few are left.
            assert sum(one.attempts - 1 for one in results) >= may_be_charged / 5
        if promise.blame in {Blame.HOST, Blame.LIMIT}:
            assert {one.attempts for one in results} == {1}, "what the host does is not charged"
            assert all(one.status is TaskState.SUCCEEDED for one in results)
        if promise.blame is Blame.PROMPT:
            assert max(map(len, calls)) == 1, "tried again although it is the prompt's fault"
            assert sum(one.error_code is promise.code for one in results) == len(hits)
        assert await lab.clean_run("After") < RECOVERY_S


@pytest.mark.proof
async def test_under_all_faults_at_once_every_prompt_ends_as_promised(
    laboratory: Any, database_url: str
) -> None:
    rules = [re.sub(r"rate=.*", "rate=0.02 model=tiny", rule) for rule in RULES]
    rules[RULES.index("bad_json rate=0.2")] = "bad_json rate=0.2 model=small"
    others = frozenset[ErrorCode]().union(*(promise.others for promise in PROMISES.values()))
    async with laboratory(database_url) as lab:
        before_s = await lab.clean_run("Before")
        lab.fail_by(*rules)
        texts, objects = await asyncio.gather(
            lab.run("Question", 100),
            lab.run("Object", 30, model="small", parameters={"format": "json"}),
        )
        kinds = {call.fault for call in lab.host.calls if call.fault}
        assert len(kinds) >= 12, kinds
        for result in (*texts, *objects):
            own = lab.calls_of(result.prompt)
            check(result, own, others=others)
            if result.status is TaskState.SUCCEEDED and result.model == "small":
                assert json.loads(result.response or "")["answer"]
            elif result.status is TaskState.SUCCEEDED:
                check_answer(result, struck(own))
        after_s = await lab.clean_run("After")
    assert after_s < before_s + RECOVERY_S


@pytest.mark.parametrize(
    "rule", ["503", "bad_gateway", "refuse s=0.2", "hang", "500", "crash_all", "close"]
)
async def test_a_batch_goes_on_within_seconds_after_the_host_is_well_again(
    laboratory: Any, sqlite_url: str, rule: str
) -> None:
    async with laboratory(sqlite_url) as lab:
        before_s = await lab.clean_run("Before")
        lab.fail_by(rule)
        lab.host.reset()
        batch_id = await lab.submit("Question", CLEAN, max_attempts=20)
        async with asyncio.timeout(PATIENCE_S):
            await lab.host.until(lambda tally: tally.calls > SLOTS)
        assert (await batches.get(lab.resources, batch_id)).counts.finished == 0
        lab.fail_by()
        began = time.monotonic()
        batch = await lab.ended(batch_id)
        took_s = time.monotonic() - began
        assert batch.counts.succeeded == CLEAN
        for one in await lab.results(batch_id):
            check_answer(one, None)
        await lab.clean_run("After")
    assert took_s < before_s + RECOVERY_S


@pytest.mark.parametrize("rule", ["crash first=2", "crash_all first=2"])
async def test_what_was_in_flight_when_a_process_died_is_charged_to_nobody(
    laboratory: Any, sqlite_url: str, rule: str
) -> None:
    async with laboratory(sqlite_url) as lab:
        lab.fail_by(rule)
        # Fewer than would put the host aside.
        few = Limits(max_concurrent=PROMPTS_FAILED_IN_A_ROW - 2, rate_limit_delay_s=0)
        results = await lab.run("Question", CLEAN, max_attempts=1, limits=few)
        tried = max(len(lab.calls_of(one.prompt)) for one in results)
    assert tried > 1, "nothing fell"
    assert {(one.status, one.attempts) for one in results} == {(TaskState.SUCCEEDED, 1)}


async def test_one_call_shows_whether_a_host_is_well_before_the_others_follow(
    laboratory: Any, sqlite_url: str
) -> None:
    async with laboratory(sqlite_url) as lab:
        lab.fail_by("503")
        batch_id = await lab.submit("Question", CLEAN)
        async with asyncio.timeout(PATIENCE_S):
            await lab.host.until(lambda tally: tally.calls >= SLOTS)
        lab.fail_by()
        assert (await lab.ended(batch_id)).counts.succeeded == CLEAN
        answered = [call for call in lab.host.calls if call.prompt and not call.fault]
    first, *others = sorted(answered, key=lambda call: call.arrived)
    assert min(call.arrived for call in others) >= first.ended


@pytest.mark.proof
async def test_a_prompt_that_brings_the_process_down_every_time_ends(
    laboratory: Any, sqlite_url: str
) -> None:
    async with laboratory(sqlite_url) as lab:
        texts = [PromptDraft(POISON), *[PromptDraft(f"Question {n}") for n in range(CLEAN)]]
        batch_id = await lab.submit("", 0, texts=texts)
        batch = await lab.ended(batch_id)
        results = await lab.results(batch_id)
        tried = len(lab.calls_of(POISON))
    assert (batch.counts.succeeded, batch.counts.failed) == (CLEAN, 1)
    assert (results[0].error_code, results[0].attempts) == (ErrorCode.SERVER_ERROR, 3)
    assert 3 <= tried <= MOST_CRASHES + 2


# --- a model that is not there --------------------------------------------------------------------


async def test_a_model_is_missing_until_it_is_pulled(laboratory: Any, sqlite_url: str) -> None:
    late = ModelSpec(name="late", speed=SPEED)
    async with laboratory(sqlite_url, pullable=(late,), pull_s=0.05) as lab:
        batch_id = await lab.submit("Question", CLEAN, model="late")
        assert (await lab.ended(batch_id)).state is JobState.FAILED
        results = await lab.results(batch_id)
        assert {one.error_code for one in results} == {ErrorCode.MODEL_NOT_FOUND}
        assert lab.host.stats()["calls"] == CLEAN, "asked again although the model is not there"

        client = OllamaClient(lab.url)
        lab.fail_by("pull_error first=1")
        with pytest.raises(OllamaError) as refused:
            _ = [line async for line in client.pull("late")]
        assert refused.value.failed.code is PROMISES[FaultKind.PULL_ERROR].code
        assert [line.status async for line in client.pull("late")][-1] == "success"
        await client.aclose()

        await control.retry(lab.resources, batch_id)
        assert (await lab.ended(batch_id)).counts.succeeded == CLEAN
        for one in await lab.results(batch_id):
            assert one.response == answer_text("late", one.prompt)
        await lab.nothing_held()
