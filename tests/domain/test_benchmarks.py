"""The rules of benchmarks: the plan, the flags, the figures, and what may be compared."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.benchmarks.comparison import (
    COMPARED,
    Side,
    compare_benchmarks,
    compare_models,
    worst_slowdown,
)
from promptmill.domain.benchmarks.flags import RATE_TOKENS, Reference, learn, run_flags
from promptmill.domain.benchmarks.plan import plan, steps_of_model, text_to_send, total_steps
from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkDraft,
    BenchmarkRun,
    Environment,
    Flag,
    ModelEnvironment,
    Order,
    Phase,
    PrefixCache,
    RunCounts,
    ServiceLevel,
)
from promptmill.domain.benchmarks.significance import Verdict
from promptmill.domain.benchmarks.summary import MEASURES, met_by, summarise, window_of
from promptmill.domain.context_window import SentText, sent_text
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import CallMetrics, ErrorCode

drafts = st.builds(
    BenchmarkDraft,
    models=st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple),
    prompts=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    num_runs=st.integers(1, 4),
    warmup_runs=st.integers(0, 2),
    concurrency=st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True).map(tuple),
    measure_cold_load=st.booleans(),
    order=st.sampled_from(Order),
)


def run(**fields) -> BenchmarkRun:
    """A run of 100 tokens in 1 s after a prefill of 100 tokens in 0.1 s, unless told."""
    metrics = {
        "total_duration": 1_110_000_000,
        "load_duration": 5_000_000,
        "prompt_eval_count": 100,
        "prompt_eval_duration": 100_000_000,
        "eval_count": 100,
        "eval_duration": 1_000_000_000,
    }
    metrics |= {name: fields.pop(name) for name in list(fields) if name in metrics}
    step = fields.get("step", 0)
    given_fields = {
        "step": 0,
        "session": 1,
        "block": 0,
        "phase": Phase.MEASURED,
        "model": "m",
        "prompt_index": 0,
        "concurrency": 1,
        "run_index": step,
        "status": TaskState.SUCCEEDED,
        "scheduled_at_ms": 0,
        "started_at_ms": 0,
        "scheduled_s": 1.2 * step,
        "ended_s": 1.2 * step + 1.1,
        "done_reason": "length",
        "latency_s": 1.1,
        "ttft_s": 0.11,
        "ttfo_s": 0.11,
        "metrics": CallMetrics(**metrics),
        "cached_prompt_tokens": 0,
        "response_chars": 440,
    }
    return BenchmarkRun(**{**given_fields, **fields})


DRAFT = BenchmarkDraft(models=("m",), num_runs=5)


# --- the plan --------------------------------------------------------------------------------------


@given(drafts)
def test_every_step_of_a_plan_is_numbered_once_and_each_level_gets_its_runs(draft) -> None:
    blocks = plan(draft)
    steps = [step for block in blocks for step in block.steps]

    assert [step.number for step in steps] == list(range(total_steps(draft)))
    assert total_steps(draft) == len(draft.models) * steps_of_model(draft)
    for model in draft.models:
        for level in draft.concurrency:
            for prompt in range(len(draft.prompts)):
                runs = [
                    step.run_index
                    for block in blocks
                    for step in block.steps
                    if (block.model, block.concurrency, block.phase)
                    == (model, level, Phase.MEASURED)
                    and step.prompt_index == prompt
                ]
                assert runs == list(range(draft.num_runs * level))


@given(drafts)
def test_models_never_alternate_and_measuring_comes_last(draft) -> None:
    blocks = plan(draft)

    assert [block.number for block in blocks] == list(range(len(blocks)))
    seen = list(dict.fromkeys(block.model for block in blocks))
    assert [block.model for block in blocks] == sorted(
        (block.model for block in blocks), key=seen.index
    )
    order = [Phase.COLD_LOAD, Phase.WARMUP, Phase.MEASURED]
    for model in draft.models:
        places = [order.index(block.phase) for block in blocks if block.model == model]
        assert places == sorted(places)


def test_interleaved_rounds_go_through_all_levels_and_prompts() -> None:
    draft = BenchmarkDraft(
        models=("m",),
        prompts=("A", "B"),
        num_runs=2,
        warmup_runs=0,
        concurrency=(1, 2),
        order=Order.INTERLEAVED,
    )

    told = [
        (block.concurrency, [(step.prompt_index, step.run_index) for step in block.steps])
        for block in plan(draft)
    ]

    assert told == [
        (1, [(0, 0)]),
        (1, [(1, 0)]),
        (2, [(0, 0), (0, 1)]),
        (2, [(1, 0), (1, 1)]),
        (1, [(0, 1)]),
        (1, [(1, 1)]),
        (2, [(0, 2), (0, 3)]),
        (2, [(1, 2), (1, 3)]),
    ]


def test_each_run_of_each_session_has_digits_of_its_own_and_always_as_many() -> None:
    draft = BenchmarkDraft(models=("m", "n"), concurrency=(1, 2))
    texts = [
        text_to_send(draft, "bench_1", session=session, block=block, step=step)
        for session in (1, 2)
        for block in plan(draft)
        for step in block.steps
    ]

    assert len({text[:12] for text in texts}) == len(texts)
    assert all(text[:12].isdecimal() and text[12:] == f"\n\n{draft.prompts[0]}" for text in texts)


# --- the workload ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"models": ("n",)}, True),
        ({"num_runs": 9, "concurrency": (4,), "label": "x"}, True),
        ({"options": {"seed": 42, "num_predict": 128, "temperature": 0}}, True),
        ({"prompts": ("Other",)}, False),
        ({"options": {"num_predict": 64}}, False),
        ({"think": False}, False),
        ({"prefix_cache": PrefixCache.ALLOW}, False),
    ],
)
def test_the_workload_is_what_is_sent_and_nothing_else(changes, same) -> None:
    changed = replace(DRAFT, **changes)
    assert (changed.workload_hash(0) == DRAFT.workload_hash(0)) is same
    assert (changed.whole_workload_hash == DRAFT.whole_workload_hash) is same


# --- flags -----------------------------------------------------------------------------------------


def flags_of(one: BenchmarkRun, draft: BenchmarkDraft = DRAFT, **beside) -> set[Flag]:
    given_beside = {
        "reference": Reference(),
        "context_length": 4096,
        "sent": SentText(chars=400, utf8_bytes=400),
        "remote": False,
    }
    return set(run_flags(one, draft, **{**given_beside, **beside}))


def test_a_plain_run_has_no_flag() -> None:
    assert flags_of(run()) == set()


@pytest.mark.parametrize(
    ("one", "beside", "flag"),
    [
        (
            run(status=TaskState.FAILED, error_code=ErrorCode.INCOMPLETE),
            {},
            Flag.NO_DONE,
        ),
        (run(eval_count=RATE_TOKENS - 1), {}, Flag.TOO_FEW_TOKENS),
        (run(eval_count=None), {}, Flag.TOO_FEW_TOKENS),
        (run(load_duration=150_000_000), {}, Flag.MODEL_RELOADED),
        (run(prompt_eval_count=4095), {}, Flag.PROMPT_TRUNCATED),
        (run(prompt_eval_count=2050), {"sent": sent_text("a" * 16_400)}, Flag.PROMPT_TRUNCATED),
        (run(prompt_eval_count=3000), {"sent": sent_text("a" * 39_000)}, Flag.PROMPT_TRUNCATED),
        (run(eval_count=32, eval_duration=1000), {}, Flag.IMPOSSIBLE_RATE),
        (run(eval_count=100_001, eval_duration=10**9), {}, Flag.IMPOSSIBLE_RATE),
        (run(prompt_eval_count=64, prompt_eval_duration=6_300), {}, Flag.IMPOSSIBLE_RATE),
        (run(done_reason="stop", eval_count=63), {}, Flag.SHORT_OUTPUT),
        (run(), {"remote": True}, Flag.REMOTE_MODEL),
    ],
)
def test_each_doubt_has_its_flag(one, beside, flag) -> None:
    assert flag in flags_of(one, **beside)


@pytest.mark.parametrize(
    ("one", "beside", "flag"),
    [
        (run(eval_count=RATE_TOKENS), {}, Flag.TOO_FEW_TOKENS),
        (run(load_duration=99_000_000), {}, Flag.MODEL_RELOADED),
        (run(load_duration=150_000_000), {"reference": Reference(load_s=2.0)}, Flag.MODEL_RELOADED),
        (run(prompt_eval_count=4094), {"sent": sent_text("a" * 16_000)}, Flag.PROMPT_TRUNCATED),
        (run(prompt_eval_count=2050), {"sent": sent_text("a" * 14_000)}, Flag.PROMPT_TRUNCATED),
        (run(eval_count=100_000, eval_duration=10**9), {}, Flag.IMPOSSIBLE_RATE),
        (run(eval_count=1, eval_duration=1), {}, Flag.IMPOSSIBLE_RATE),
        (run(prompt_eval_count=64, prompt_eval_duration=6_400), {}, Flag.IMPOSSIBLE_RATE),
        (run(prompt_eval_count=63, prompt_eval_duration=1), {}, Flag.IMPOSSIBLE_RATE),
        (
            run(prompt_eval_count=64, prompt_eval_duration=1, cached_prompt_tokens=None),
            {},
            Flag.IMPOSSIBLE_RATE,
        ),
        (run(prompt_eval_count=5000), {"context_length": None}, Flag.PROMPT_TRUNCATED),
        (run(done_reason="stop", eval_count=64), {}, Flag.SHORT_OUTPUT),
        (run(done_reason="length", eval_count=20), {}, Flag.SHORT_OUTPUT),
    ],
)
def test_no_flag_is_raised_just_beside_its_bound(one, beside, flag) -> None:
    assert flag not in flags_of(one, **beside)


def test_a_prompt_that_is_read_in_half_its_uncached_time_was_cached() -> None:
    allowed = replace(DRAFT, prefix_cache=PrefixCache.ALLOW)
    reference = learn(Reference(), run())

    assert Flag.PREFIX_CACHE_HIT in flags_of(
        run(prompt_eval_duration=49_000_000), allowed, reference=reference
    )
    assert flags_of(run(prompt_eval_duration=51_000_000), allowed, reference=reference) == {
        Flag.CACHE_UNKNOWN
    }
    assert flags_of(run(prompt_eval_duration=None), allowed, reference=reference) == {
        Flag.PREFIX_CACHE_HIT
    }


def test_the_reference_is_the_first_reading_and_the_longest_load() -> None:
    reference = Reference()
    for one in (
        run(load_duration=400_000_000),
        run(load_duration=900_000_000, prompt_eval_duration=10_000_000),
        run(load_duration=5_000_000),
    ):
        reference = learn(reference, one)

    assert reference.load_s == 0.9
    assert reference.prefill_s_per_token == pytest.approx(0.001)


# --- figures ---------------------------------------------------------------------------------------

runs = st.lists(
    st.builds(
        lambda step, status, latency, tokens, reload, session: run(
            step=step,
            status=TaskState.SUCCEEDED if status else TaskState.FAILED,
            error_code=None if status else ErrorCode.TIMEOUT,
            latency_s=latency,
            ttft_s=latency / 10,
            eval_count=tokens,
            flags=(Flag.MODEL_RELOADED,) if reload else (),
            session=session,
        ),
        st.integers(0, 100),
        st.booleans(),
        st.floats(0.1, 10),
        st.integers(1, 300),
        st.booleans(),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one.step,
)


@given(runs, st.randoms(use_true_random=False))
def test_the_figures_do_not_depend_on_the_order_in_which_runs_are_read(found, chance) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)

    assert summarise(DRAFT, "m", shuffled) == summarise(DRAFT, "m", found)


@given(runs)
def test_failures_are_in_every_denominator_and_in_no_distribution(found) -> None:
    draft = replace(DRAFT, slo=ServiceLevel(latency_s=5.0))
    result = summarise(draft, "m", found)
    (level,) = result.levels

    assert level.n_attempted == len(found) == level.n_ok + level.n_failed
    assert sum(level.errors.values()) == level.n_failed
    for name in MEASURES:
        assert getattr(level, name).n <= level.n_ok
    good = [one for one in found if one.succeeded and one.latency_s <= 5]
    assert level.good_request_fraction == pytest.approx(len(good) / len(found))
    reloaded = [one for one in found if Flag.MODEL_RELOADED in one.flags]
    if len(reloaded) == len(found):
        assert level.latency_s.n == 0


@given(runs)
def test_an_answer_of_few_tokens_is_in_no_rate(found) -> None:
    (level,) = summarise(DRAFT, "m", found).levels
    counted = [
        one
        for one in found
        if one.succeeded
        and Flag.MODEL_RELOADED not in one.flags
        and one.metrics.eval_count >= RATE_TOKENS
    ]

    for name in ("decode_tokens_per_sec", "e2e_tokens_per_sec", "chars_per_sec", "tpot_s"):
        assert getattr(level, name).n == len(counted), name


def test_cold_loads_and_warm_ups_count_for_nothing_else() -> None:
    measured = [run(step=step) for step in (2, 3, 4)]
    cold = run(
        step=0, phase=Phase.COLD_LOAD, latency_s=9.0, ttft_s=8.0, load_duration=7_000_000_000
    )
    warm = run(step=1, phase=Phase.WARMUP, latency_s=5.0)

    alone = summarise(DRAFT, "m", measured)
    whole = summarise(DRAFT, "m", [cold, warm, *measured])

    assert whole.levels == alone.levels
    assert whole.latency == alone.latency == pytest.approx(1.1)
    assert (whole.cold_load.load_s, whole.cold_load.ttft_s) == (7.0, 8.0)
    assert alone.cold_load is None


def test_what_is_not_known_is_none_and_never_zero() -> None:
    result = summarise(DRAFT, "m", [run(status=TaskState.FAILED, error="down")])
    (level,) = result.levels

    assert (result.latency, result.tokens_per_sec, result.response) == (None, None, None)
    assert result.error == "down"
    assert level.latency_s.mean is None
    assert (level.goodput_req_s, level.effective_parallelism) == (None, None)
    assert level.latency_parts.prefill_s is None
    assert summarise(DRAFT, "m", []).levels == []


def test_a_window_that_a_crash_broke_is_added_up_without_the_gap() -> None:
    pieces = [
        run(step=0, session=1, block=3, scheduled_s=10.0, ended_s=12.0),
        run(step=1, session=1, block=3, scheduled_s=11.0, ended_s=14.0),
        run(step=2, session=2, block=3, scheduled_s=1.0, ended_s=2.5),
    ]

    assert window_of(pieces) == pytest.approx(4.0 + 1.5)


def test_the_prefill_rate_is_of_uncached_tokens_of_a_prompt_that_is_not_short() -> None:
    def prefill(**fields):
        (level,) = summarise(DRAFT, "m", [run(**fields)]).levels
        return level.prefill_tokens_per_sec.mean

    assert prefill() == pytest.approx(1000)
    assert prefill(cached_prompt_tokens=20) == pytest.approx(800)
    assert prefill(cached_prompt_tokens=None) is None
    assert prefill(prompt_eval_count=63) is None
    assert prefill(flags=(Flag.PREFIX_CACHE_HIT,)) is None


def test_a_request_is_good_when_it_meets_every_wish_and_tells_so() -> None:
    slo = ServiceLevel(ttft_s=0.2, tpot_s=0.01)

    assert met_by(slo, run())
    assert not met_by(slo, run(ttft_s=0.21))
    assert not met_by(slo, run(eval_count=1)), "without a time per token nothing is shown"
    assert not met_by(slo, run(status=TaskState.FAILED))


@pytest.mark.parametrize(
    ("cvs", "count", "flag"),
    [
        ((1.0, 1.3), 6, Flag.HIGH_VARIANCE),
        ((1.0, 1.0), 4, Flag.TOO_FEW_RUNS),
    ],
)
def test_a_level_is_flagged_by_what_its_runs_show_together(cvs, count, flag) -> None:
    found = [run(step=n, latency_s=cvs[n % 2]) for n in range(count)]
    assert flag in summarise(DRAFT, "m", found).levels[0].flags
    calm = [run(step=n) for n in range(6)]
    assert summarise(DRAFT, "m", calm).levels[0].flags == ()


def test_a_value_that_rises_over_the_runs_is_flagged_as_drift() -> None:
    rising = [run(step=n, latency_s=1 + 0.02 * n) for n in range(12)]
    assert Flag.DRIFT in summarise(DRAFT, "m", rising).levels[0].flags
    shaken = random.Random(3).sample(range(12), 12)
    noisy = [run(step=n, latency_s=1 + 0.02 * place) for n, place in enumerate(shaken)]
    assert Flag.DRIFT not in summarise(DRAFT, "m", noisy).levels[0].flags


def test_a_model_is_flagged_by_what_it_was_measured_on() -> None:
    half = ModelEnvironment(size=100, size_vram=40, remote=True, changed=True)
    flags = summarise(DRAFT, "m", [run()], environment=half).flags

    assert {Flag.PARTIAL_OFFLOAD, Flag.REMOTE_MODEL, Flag.VERSION_CHANGED} <= set(flags)
    whole = ModelEnvironment(size=100, size_vram=100)
    assert Flag.PARTIAL_OFFLOAD not in summarise(DRAFT, "m", [run()], environment=whole).flags


# --- comparison ------------------------------------------------------------------------------------


def benchmark(draft: BenchmarkDraft = DRAFT, environment: Environment | None = None) -> Benchmark:
    return Benchmark(
        key=1,
        id=f"bench_{draft.label or 'x'}",
        state=JobState.COMPLETED,
        draft=draft,
        counts=RunCounts(total=1),
        environment=environment or Environment(),
        created_at_ms=0,
        started_at_ms=0,
        finished_at_ms=1,
        error=None,
        read_at_ms=1,
    )


def side(latency: float, *, count: int = 6, draft: BenchmarkDraft = DRAFT, **fields) -> Side:
    found = [
        run(step=n, latency_s=latency * (1 + n / 1000), model=draft.models[0], **fields)
        for n in range(count)
    ]
    return Side(benchmark=benchmark(draft), runs=found)


def latency_of(found):
    return next(each for each in found.measures if each.metric == "latency_s")


def test_a_slower_benchmark_is_found_slower_and_by_how_much() -> None:
    found = compare_benchmarks(side(1.0), side(1.25))

    latency = latency_of(found)
    assert latency.comparison.verdict is Verdict.SLOWER
    assert latency.comparison.ratio == pytest.approx(1.25, rel=0.01)
    assert worst_slowdown(found) == pytest.approx(0.25, rel=0.05)
    assert worst_slowdown(compare_benchmarks(side(1.25), side(1.0))) is None
    assert set(found.geomean_ratio) == set(COMPARED)


def test_nothing_is_compared_with_other_work_levels_or_models() -> None:
    cases = {
        "another prompt": replace(DRAFT, prompts=("Other",)),
        "requests in flight": replace(DRAFT, concurrency=(2,)),
    }
    for words, draft in cases.items():
        level = draft.concurrency[0]
        base = side(1.0, draft=draft, concurrency=level)
        found = compare_benchmarks(base, side(1.0))
        assert found.measures == []
        assert not found.same_work
        assert words in found.not_comparable[0].reason
    two = replace(DRAFT, models=("m", "n"))
    found = compare_benchmarks(
        side(1.0, draft=replace(DRAFT, models=("o", "p"))), side(1.0, draft=two)
    )
    assert [each.reason for each in found.not_comparable] == [
        "the baseline did not measure this model"
    ]


def test_single_models_of_different_names_are_compared_and_the_name_is_told() -> None:
    found = compare_benchmarks(side(1.0), side(1.0, draft=replace(DRAFT, models=("n",))))

    assert latency_of(found).baseline_model == "m"
    assert [(one.what, one.base, one.target) for one in found.differences] == [("model", "m", "n")]


def test_what_else_differs_is_listed() -> None:
    old = Environment(ollama_version="1", models={"m": ModelEnvironment(model_digest="a")})
    new = Environment(ollama_version="2", models={"m": ModelEnvironment(model_digest="b")})
    base = replace(side(1.0), benchmark=benchmark(environment=old))
    target = replace(side(1.0), benchmark=benchmark(environment=new))

    told = {one.what for one in compare_benchmarks(base, target).differences}

    assert told == {"ollama_version", "m model_digest"}


def test_models_of_one_benchmark_stand_beside_its_first() -> None:
    draft = replace(DRAFT, models=("m", "n"))
    found = [run(step=n, latency_s=1 + n / 1000) for n in range(6)]
    found += [run(step=n, latency_s=2 + n / 1000, model="n") for n in range(6)]

    beside = compare_models(Side(benchmark=benchmark(draft), runs=found))

    latency = next(each for each in beside if each.metric == "latency_s")
    assert (latency.model, latency.baseline_model) == ("n", "m")
    assert latency.comparison.verdict is Verdict.SLOWER
