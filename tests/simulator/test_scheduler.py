"""Loading, reloading, evicting and keeping models, with the queue in front of the loader."""

from __future__ import annotations

import asyncio
import time

import pytest

from promptmill.simulator import Speed

SMALL, TINY = "small:latest", "tiny:latest"
BUSY = "server busy, please try again.  maximum pending requests exceeded"

# The clock on the wall is what these tests look at: they run one at a time.
pytestmark = pytest.mark.proof


def loads(server, model=TINY):
    return server.simulator.calls.tally.models[model].loads


@pytest.mark.parametrize(
    ("option", "reloads"),
    [
        ({"num_ctx": 2048}, True),
        ({"num_batch": 256}, True),
        ({"num_thread": 2}, True),
        ({"num_gpu": 1}, True),
        ({"use_mmap": False}, True),
        ({"num_ctx": 4096}, False),
        ({"temperature": 0.5}, False),
        ({"seed": 3}, False),
        ({"num_gpu": -1}, False),
    ],
)
async def test_only_a_changed_runner_option_reloads_the_model(simulated, option, reloads):
    async with simulated() as server:
        await server.generate("a")
        await server.generate("b", options=option)
        assert loads(server) == (2 if reloads else 1)


async def test_the_load_time_shows_in_the_load_duration(simulated, lines):
    async with simulated(speed=Speed(load_s=0.05)) as server:
        cold = lines(await server.generate("a"))[-1]["load_duration"]
        warm = lines(await server.generate("a"))[-1]["load_duration"]
    assert 0.049 < cold / 1e9 < 0.09
    assert warm / 1e9 < 0.02


async def test_requests_that_come_during_a_load_wait_for_it_outside_the_queue(simulated):
    async with simulated(speed=Speed(load_s=0.05), max_queue=0) as server:
        answers = await asyncio.gather(*[server.generate(f"p{number}") for number in range(8)])
        assert [answer.status_code for answer in answers] == [200] * 8
        assert loads(server) == 1


async def test_the_queue_holds_one_in_the_loader_and_max_queue_behind_it(simulated):
    async with simulated(
        models=("a", "b", "c", "d"), speed=Speed(load_s=0.1), max_queue=2
    ) as server:
        tasks = []
        for number, model in enumerate("abcd"):
            tasks.append(server.start("x", model=model))
            await server.until(lambda tally, number=number: tally.calls == number + 1)
        refused = await tasks[3]
        assert (refused.status_code, refused.json()) == (503, {"error": BUSY})
        assert [(await task).status_code for task in tasks[:3]] == [200, 200, 200]


async def test_the_idle_model_that_would_leave_first_is_evicted(simulated):
    async with simulated(models=("a", "b", "c"), max_loaded=2) as server:
        await server.generate("x", model="a", keep_alive=100)
        await server.generate("x", model="b", keep_alive=50)
        await server.generate("x", model="c")
        assert server.loaded == ["a:latest", "c:latest"]


async def test_a_busy_model_is_evicted_only_when_it_is_idle(simulated):
    async with simulated(speed=Speed(request_s=0.05), max_loaded=1) as server:
        first = server.start("x", model="tiny")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        second = server.start("x", model="small")
        await asyncio.gather(first, second)
        calls = {call.model: call for call in server.simulator.calls}
        assert calls[SMALL].slot_at >= calls[TINY].ended
        assert server.loaded == [SMALL]


async def overlap(server, until_ended, **fields):
    """Keep two requests for tiny in flight until so many have ended."""

    async def one_after_the_other():
        while server.simulator.calls.tally.outcomes["answered"] < until_ended:
            await server.generate("again", model="tiny", **fields)

    async with asyncio.TaskGroup() as group:
        group.create_task(one_after_the_other())
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        group.create_task(one_after_the_other())


async def test_steady_traffic_to_the_loaded_model_starves_the_other(simulated):
    # Long enough that a client held up for a moment leaves no gap between two requests.
    async with simulated(speed=Speed(request_s=0.05), max_loaded=1) as server:
        await server.generate("", model="tiny")
        busy = asyncio.create_task(overlap(server, 40))
        await server.until(lambda tally: tally.outcomes["answered"] >= 3)
        starved = server.start("x", model="small")
        await server.until(lambda tally: tally.outcomes["answered"] >= 30)
        assert not starved.done()
        assert loads(server, TINY) == 1
        await busy
        # Once the traffic has a gap the mark is honoured.
        assert (await starved).status_code == 200
        assert server.loaded == [SMALL]


async def test_a_keep_alive_wipes_out_the_mark_of_eviction(simulated):
    async with simulated(speed=Speed(request_s=0.02), max_loaded=1) as server:
        first = server.start("x", model="tiny")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        other = server.start("x", model="small")
        await server.until(lambda tally: tally.calls == 2)
        second = server.start("y", model="tiny", keep_alive=0.2)
        began = time.monotonic()
        await asyncio.gather(first, second)
        assert server.loaded == [TINY]
        assert (await other).status_code == 200
        # The other had to wait for the end of that keep_alive, with nothing going on.
        assert time.monotonic() - began > 0.2


async def test_whoever_waits_for_an_eviction_holds_up_everybody_behind_even_when_gone(simulated):
    async with simulated(
        models=("a", "b", "c"), speed=Speed(request_s=0.05), max_loaded=1
    ) as server:
        first = server.start("x", model="a")
        await server.until(
            lambda tally: "a:latest" in tally.models and tally.models["a:latest"].in_slots == 1
        )
        leaver = server.start("x", model="b")
        await server.until(lambda tally: tally.calls == 2)
        behind = server.start("x", model="c")
        await server.until(lambda tally: tally.calls == 3)
        leaver.cancel()
        await server.until(lambda tally: tally.outcomes["client_left"] == 1)
        await asyncio.gather(first, behind)
        calls = {call.model: call for call in server.simulator.calls}
        assert calls["c:latest"].slot_at >= calls["a:latest"].ended
        assert "b:latest" not in {
            name for name, model in server.simulator.calls.tally.models.items() if model.loads
        }


async def test_a_client_that_leaves_during_its_load_takes_the_load_with_it(simulated):
    async with simulated(speed=Speed(load_s=20.0)) as server:
        leaver = server.start("x")
        await server.until(lambda tally: tally.models[TINY].loads == 1)
        leaver.cancel()
        await server.until(lambda tally: tally.models[TINY].unloads == 1)
        assert server.loaded == []


async def test_those_who_waited_for_a_lost_load_load_it_themselves(simulated):
    async with simulated(speed=Speed(load_s=0.1)) as server:
        leaver = server.start("x")
        await server.until(lambda tally: tally.models[TINY].loads == 1)
        follower = server.start("y")
        await server.until(lambda tally: tally.calls == 2)
        leaver.cancel()
        assert (await follower).status_code == 200
        assert loads(server) == 2


@pytest.mark.parametrize(
    ("keep_alive", "stays"),
    [(0, False), ("0s", False), (-1, True), ("-1s", True), ("5m", True), (0.02, False), (60, True)],
)
async def test_keep_alive_decides_how_long_the_model_stays(simulated, keep_alive, stays):
    async with simulated() as server:
        await server.generate("x", keep_alive=keep_alive)
        if stays:
            await asyncio.sleep(0.03)
        else:
            await server.until(lambda tally: tally.models[TINY].unloads == 1)
        assert (server.loaded == [TINY]) is stays


async def test_ps_tells_when_a_model_will_go_and_lists_the_longest_first(simulated):
    async with simulated() as server:
        await server.generate("x", model="tiny", keep_alive="1m")
        await server.generate("x", model="small", keep_alive=-1)
        rows = (await server.client.get("/api/ps")).json()["models"]
    assert [row["name"] for row in rows] == [SMALL, TINY]
    assert rows[0]["expires_at"].startswith("23")
    assert rows[1]["context_length"] == 4096


async def test_ps_answers_during_a_load(simulated):
    async with simulated(speed=Speed(load_s=5.0)) as server:
        loading = server.start("x")
        await server.until(lambda tally: tally.models[TINY].loads == 1)
        async with asyncio.timeout(0.5):
            assert (await server.client.get("/api/ps")).status_code == 200
        loading.cancel()


async def test_a_window_is_clipped_to_what_the_model_was_trained_on(simulated):
    async with simulated() as server:
        await server.generate("x", options={"num_ctx": 999_999})
        assert (await server.client.get("/api/ps")).json()["models"][0]["context_length"] == 8192
        await server.generate("x", options={"num_ctx": 8192})
        assert loads(server) == 1


async def test_a_deleted_model_is_gone_from_disk_and_memory(simulated):
    async with simulated() as server:
        await server.generate("x")
        answer = await server.client.request("DELETE", "/api/delete", json={"model": "tiny"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert server.loaded == []
        assert (await server.generate("x")).status_code == 404
