"""The failure tables as Markdown, as `docs/ollama-failures.md` shows them.

python -m tests.ollama.failure_tables      prints what belongs between the page's marks
"""

from __future__ import annotations

from promptmill.domain.outcomes import DEFAULT_FAIL_ON, DEFECTS, Blame
from promptmill.ollama.answer_checks import structured_output
from promptmill.ollama.failures import table as errors
from promptmill.ollama.failures.exceptions import EXCEPTIONS
from promptmill.ollama.failures.table import AnswerRule, Timeout
from promptmill.ollama.failures.verdicts import FailureMeaning

FOLLOWS = {
    Blame.PROMPT: "fails at once",
    Blame.ATTEMPT: "tried again",
    Blame.REFUSAL: "goes to another host",
    Blame.GATEWAY: "depends on the host",
    Blame.LIMIT: "waits for its model",
    Blame.HOST: "goes back uncharged",
}


def _verdict(verdict: FailureMeaning) -> str:
    return f"`{verdict.code.value}` | {FOLLOWS[verdict.blame]}"


def _statuses(rule: AnswerRule) -> str:
    first, last = rule.statuses[0], rule.statuses[-1]
    if first == 0:
        return "any other"
    return str(first) if first == last else f"{first}-{last}"


def _who(rule: AnswerRule) -> str:
    return (
        {"OLLAMA": "Ollama", "CLOUD": "its cloud", "OTHER": "a proxy"}[rule.speaker.name]
        if rule.speaker
        else ""
    )


def _words(rule: AnswerRule) -> str:
    if rule.words is None:
        return ""
    pattern = rule.words.pattern.removeprefix("^(").removesuffix(")").replace("\\", "")
    return " or ".join(f"`{part.strip()}`" for part in pattern.split("|"))


def _named(kind: type[BaseException]) -> str:
    module = kind.__module__.partition(".")[0].lstrip("_")
    return kind.__name__ if module in {"builtins", "ssl"} else f"{module}.{kind.__name__}"


def answers() -> str:
    """Answers with another status than 200; the first row that fits decides."""
    rows = ["| status | who says it | words | code | the prompt |", "|---|---|---|---|---|"]
    rows += [
        f"| {_statuses(rule)} | {_who(rule)} | {_words(rule)} | {_verdict(rule.verdict)} |"
        for rule in errors.ANSWERS
    ]
    return "\n".join(rows)


def breaks_and_timeouts() -> str:
    """What goes wrong under status 200, and the four timeouts."""
    rows = ["| what happens | code | the prompt |", "|---|---|---|"]
    rows += [f"| {kind.value} | {_verdict(errors.BREAKS[kind])} |" for kind in errors.BREAKS]
    shown = {"url": "the host", "seconds": 0}
    for timeout in Timeout:
        text = timeout.value.replace("{seconds:g}", "{seconds}").format(**shown)
        text = text.replace("within 0 s", "in time").replace("for 0 s ", "")
        rows.append(f"| {text} | {_verdict(errors.TIMEOUTS[timeout])} |")
    return "\n".join(rows)


def exceptions() -> str:
    """What the transport raises, before any answer and during one."""
    rows = [
        "| what happens | before any answer | the prompt | during the answer | the prompt | raised as |",
        "|---|---|---|---|---|---|",
    ]
    kinds: dict[int, list[str]] = {}
    rules = {id(rule): rule for rule in EXCEPTIONS.values()}
    for kind, rule in EXCEPTIONS.items():
        kinds.setdefault(id(rule), []).append(f"`{_named(kind)}`")
    rows += [
        f"| {rules[key].meaning.format(url='the host')} | {_verdict(rules[key].before)}"
        f" | {_verdict(rules[key].during)} | {', '.join(names)} |"
        for key, names in kinds.items()
    ]
    return "\n".join(rows)


def defects() -> str:
    """What may be wrong with an answer that came whole."""
    rows = ["| code | fails the prompt | a prompt that failed so |", "|---|---|---|"]
    for code in DEFECTS:
        fails = (
            "unless `fail_on` leaves it out" if code in DEFAULT_FAIL_ON else "if `fail_on` names it"
        )
        rows.append(f"| `{code.value}` | {fails} | {FOLLOWS[structured_output.BLAMES[code]]} |")
    return "\n".join(rows)


TABLES = {
    "answers": answers,
    "breaks and timeouts": breaks_and_timeouts,
    "exceptions": exceptions,
    "defects": defects,
}

if __name__ == "__main__":
    for name, table in TABLES.items():
        print(f"<!-- {name} -->\n{table()}\n<!-- end -->\n")
