"""Every program in `docs/python-api.md`, run as it stands there; only the address is another.

The programs name no address and so mean the default one; where the page says `OllamaManager(...)`
the test adds the address of a pretended Ollama.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from promptmill.manager import OllamaManager
from promptmill.simulator import FaultRule, Simulator, Speed, answer_text, running_in_thread
from tests.manager.pretended import ENDLESS, pretended

PAGE = Path(__file__).parents[2] / "docs" / "python-api.md"
MODELS = ("qwen3:8b", "llama3.2:3b", "gemma3:1b", "qwen3:32b")
QUICK = Speed(decode_tokens_per_s=5000)

QUICK_START = "Quick start"
SEVERAL = "Several prompts"
COMPARE = "Compare models"
FAILURES = "Handle failures"
CHUNKS = "Very many prompts, in chunks"
RETRY = "Try again, with tenacity"
SPEED = "Tuned for speed"
STABILITY = "Tuned for stability"
TIMEOUT = "A longer timeout"
NOT_RUNNING = "Ollama is not running"


def _examples() -> dict[str, str]:
    """The programs of the page by the heading above them."""
    examples: dict[str, str] = {}
    heading, program = "", None
    for line in PAGE.read_text().splitlines():
        if program is not None:
            if line == "```":
                source = "\n".join(program)
                if "Promptmill()" in source:  # tests/cli/test_pages.py runs these.
                    program = None
                    continue
                assert heading not in examples, f"two programs under {heading!r}"
                examples[heading] = "\n".join(program) + "\n"
                program = None
            else:
                program.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        elif line == "```python":
            program = []
    return examples


EXAMPLES = _examples()


def aimed_at(url: str, source: str) -> str:
    """The program with this address instead of the default one."""
    aimed, times = re.subn(
        r"OllamaManager\((\)?)",
        lambda found: f"OllamaManager(base_url={url!r}{found[1] or ', '}",
        source,
    )
    assert times, "the program makes no OllamaManager"
    return aimed


@pytest.fixture
def printed_by(capsys, monkeypatch, tmp_path):
    """`printed_by(heading, url)` runs the program in an empty folder; the lines that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(heading: str, url: str) -> list[str]:
        program = compile(aimed_at(url, EXAMPLES[heading]), f"{PAGE.name}, {heading}", "exec")
        exec(program, {"__name__": "__main__"})
        return capsys.readouterr().out.splitlines()

    return run


def answers(simulator: Simulator) -> dict[str, str]:
    """What the pretended Ollama said to each prompt that it was asked, in order of arrival."""
    return {
        call.prompt: answer_text(call.model, call.prompt)
        for call in simulator.calls
        if call.prompt is not None
    }


def test_the_page_has_a_program_for_every_pattern_of_the_quick_reference():
    assert set(EXAMPLES) == {
        *(QUICK_START, SEVERAL, COMPARE, FAILURES, CHUNKS),
        *(RETRY, SPEED, STABILITY, TIMEOUT, NOT_RUNNING),
    }


@pytest.mark.parametrize("heading", EXAMPLES)
def test_a_program_is_complete_and_names_no_address(heading):
    source = EXAMPLES[heading]
    assert "from promptmill.manager import OllamaManager\n" in source
    assert source.endswith("\n\nasyncio.run(main())\n")
    assert "base_url=" not in source
    assert max(map(len, source.splitlines())) <= 100


@pytest.mark.parametrize(
    "name", ["OllamaManager", *(name for name in vars(OllamaManager) if name[0] != "_")]
)
def test_the_page_shows_every_signature_as_it_is(name):
    shown = []
    for parameter in inspect.signature(
        getattr(OllamaManager, name, OllamaManager)
    ).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
        elif parameter.default is not inspect.Parameter.empty:
            value = parameter.default
            default = json.dumps(value) if isinstance(value, str) else value
            shown.append(f"{parameter.name}={default}")
        elif parameter.name != "self":
            shown.append(parameter.name)
    assert f"`{name}({', '.join(shown)})`" in PAGE.read_text()


@pytest.mark.parametrize(
    ("heading", "model", "prompts"),
    [
        (QUICK_START, "qwen3:8b", 1),
        (SEVERAL, "qwen3:8b", 3),
        (FAILURES, "qwen3:8b", 3),
        (RETRY, "qwen3:8b", 3),
        (STABILITY, "gemma3:1b", 3),
        (TIMEOUT, "qwen3:32b", 1),
        (NOT_RUNNING, "qwen3:8b", 1),
    ],
)
def test_a_program_prints_the_answer_to_each_of_its_prompts(heading, model, prompts, printed_by):
    simulator = pretended(*MODELS, speed=QUICK)
    with running_in_thread(simulator) as url:
        printed = "\n".join(printed_by(heading, url))
    assert {call.model for call in simulator.calls if call.model} == {model}
    said = answers(simulator)
    assert len(said) == prompts
    places = [printed.find(text) for text in said.values()]
    assert -1 not in places, printed
    assert places == sorted(places)


def test_several_prompts_are_printed_with_their_own_answers(printed_by):
    simulator = pretended(*MODELS)
    with running_in_thread(simulator) as url:
        lines = printed_by(SEVERAL, url)
    assert lines[0] == "Question: Why is the sky blue?"
    assert lines == [
        line
        for prompt, answer in answers(simulator).items()
        for line in (f"Question: {prompt}", *f"Answer: {answer}".splitlines())
    ]


def test_comparing_prints_latency_and_speed_of_each_model(printed_by):
    simulator = pretended(*MODELS, speed=QUICK)
    with running_in_thread(simulator) as url:
        lines = printed_by(COMPARE, url)
    assert [line.rpartition(":")[0] for line in lines] == ["qwen3:8b", "llama3.2:3b", "gemma3:1b"]
    for line in lines:
        assert re.search(r": \d+\.\d\d s, [1-9]\d* tokens per second$", line)
    assert simulator.stats()["models"]["gemma3:1b"]["calls"] == 3


def test_comparing_prints_why_a_model_has_no_figures(printed_by):
    with running_in_thread(pretended("qwen3:8b", "gemma3:1b", speed=QUICK)) as url:
        first, missing, last = printed_by(COMPARE, url)
    assert missing.startswith("llama3.2:3b: ")
    assert "model 'llama3.2:3b' not found" in missing
    assert "tokens per second" in first
    assert "tokens per second" in last


def test_failures_are_printed_apart_and_counted(printed_by):
    simulator = pretended(*MODELS, faults=(FaultRule.parse("500 first=1"),))
    with running_in_thread(simulator) as url:
        lines = printed_by(FAILURES, url)
    said = answers(simulator)
    failed, *succeeded = said
    assert lines[-1] == "2 succeeded, 1 failed"
    assert lines[-2].startswith(f"{failed} failed: ")
    assert "answered 500" in lines[-2]
    text = "\n".join(lines[:-2])
    assert text == "\n".join(f"{prompt} {said[prompt]}" for prompt in succeeded)


def test_chunks_are_written_down_and_a_second_start_goes_on_behind_them(printed_by, tmp_path):
    simulator = pretended(*MODELS)
    path = tmp_path / "answers.jsonl"
    with running_in_thread(simulator) as url:
        lines = printed_by(CHUNKS, url)
        assert lines == [f"{done} of 1000 done" for done in range(100, 1001, 100)]
        said = answers(simulator)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:700]))
        assert printed_by(CHUNKS, url) == [f"{done} of 1000 done" for done in (800, 900, 1000)]
        assert printed_by(CHUNKS, url) == []
        calls = simulator.stats()["calls"]
    assert calls == 1300
    results = [json.loads(line) for line in path.read_text().splitlines()]
    assert [result["prompt"] for result in results] == [
        f"Write a riddle about the number {number}." for number in range(1000)
    ]
    assert all(result["response"] == said[result["prompt"]] for result in results)


def test_another_round_sends_only_what_failed(printed_by):
    # The fault strikes the first call that comes, whichever prompt it is.
    simulator = pretended(*MODELS, faults=(FaultRule.parse("cut first=1"),))
    with running_in_thread(simulator) as url:
        lines = printed_by(RETRY, url)
        asked = simulator.stats()["prompts_by_number_of_calls"]
    assert lines[:2] == ["sending 3 prompts", "sending 1 prompts"]
    assert asked == {"1": 2, "2": 1}
    text = "\n".join(lines[2:])
    assert text == "\n".join(
        f"{prompt} {answer_text('qwen3:8b', prompt)}"
        for prompt in ("Name a fruit.", "Name a river.", "Name a planet.")
    )


def test_rounds_end_and_what_still_failed_is_told(printed_by, monkeypatch):
    # Tenacity draws its pauses from there.
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    with running_in_thread(pretended("tiny")) as url:
        lines = printed_by(RETRY, url)
    assert lines[:4] == ["sending 3 prompts"] * 4
    assert len(lines) == 7
    assert all("model 'qwen3:8b' not found" in line for line in lines[4:])


@pytest.mark.proof
def test_speed_keeps_the_model_in_memory_and_counts_what_came(printed_by):
    simulator = pretended(*MODELS, speed=QUICK)
    with running_in_thread(simulator) as url:
        (line,) = printed_by(SPEED, url)
    found = re.fullmatch(r"20 of 20 answered, (\d+) tokens in (\d+\.\d) s", line)
    assert 20 * 16 <= int(found[1]) <= 20 * 50
    # Nineteen pauses of 0.05 s, rounded to tenths.
    assert float(found[2]) >= 0.9
    assert {(call.model, call.keep_alive_s) for call in simulator.calls} == {("llama3.2:3b", 600.0)}


def test_stability_has_two_at_a_time_with_a_small_window_and_calm_starts(printed_by):
    simulator = pretended(*MODELS, speed=Speed(request_s=1.5))
    with running_in_thread(simulator) as url:
        lines = printed_by(STABILITY, url)
    assert lines[0].startswith("Describe a cat. ")
    assert simulator.stats()["models"]["gemma3:1b"]["peak_in_slots"] == 2
    assert {call.num_ctx for call in simulator.calls} == {2048}


def test_a_prompt_that_takes_longer_than_the_timeout_is_told_as_such(printed_by, monkeypatch):
    source = EXAMPLES[TIMEOUT].replace("(timeout=600)", "(timeout=0.2)")
    assert source != EXAMPLES[TIMEOUT]
    monkeypatch.setitem(EXAMPLES, TIMEOUT, source)
    with running_in_thread(pretended(*MODELS, speed=ENDLESS)) as url:
        (line,) = printed_by(TIMEOUT, url)
    assert line.startswith("Timeout: ")
    assert "0.2 s" in line


def test_without_ollama_the_program_says_how_to_start_it(printed_by, unused_port):
    url = f"http://127.0.0.1:{unused_port}"
    with pytest.raises(SystemExit) as ended:
        printed_by(NOT_RUNNING, url)
    assert ended.value.code == f"Ollama does not answer at {url}. Start it with: ollama serve"


def test_without_the_model_the_program_pulls_it_or_says_that_it_cannot(printed_by):
    with running_in_thread(pretended("tiny")) as url, pytest.raises(SystemExit) as ended:
        printed_by(NOT_RUNNING, url)
    assert ended.value.code == "qwen3:8b is not installed and could not be pulled."

    with running_in_thread(pretended("tiny", pullable=("qwen3:8b",))) as url:
        printed = "\n".join(printed_by(NOT_RUNNING, url))
    assert printed == answer_text("qwen3:8b", "Are you there?")


@pytest.mark.parametrize("heading", [QUICK_START, SEVERAL, FAILURES, COMPARE, TIMEOUT, STABILITY])
def test_no_program_breaks_when_ollama_is_not_there(heading, printed_by, unused_port):
    printed = "\n".join(printed_by(heading, f"http://127.0.0.1:{unused_port}"))
    if heading in {QUICK_START, SEVERAL}:
        assert printed.endswith("None")
    else:
        assert "No connection to http://127.0.0.1" in printed
