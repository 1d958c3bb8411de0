"""What a person sees at the command line: in a terminal, in a narrow one, without colours, in pipes.

The transcripts are files to read, in `transcripts/`. After a change that is wanted

    UPDATE_TRANSCRIPTS=1 scripts/test tests/cli/test_transcripts.py

writes them anew; look at what `git diff` says of them as somebody who has never seen Promptmill.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import respx

from tests.cli.screen import Ran, in_pipes, in_terminal, shown
from tests.cli.story import tell_story

FOLDER = Path(__file__).parent / "transcripts"
COMMANDS = """\
promptmill
promptmill run qwen3:8b 'Why is the sky blue?' 'Why is grass green?'
promptmill submit -f reviews.csv --template 'Good or bad? {{ text }}' --keep text --label reviews
promptmill submit -f reviews.csv --template 'Good or bad? {{ txt }}'
promptmill submit -f reviews.csv --column text --preview 1
promptmill submit -f reviews.csv --column text --dry-run
promptmill submit 'Why?' --option temprature=0
promptmill submit 'Why?' --json
promptmill submit
promptmill watch @2
promptmill results reviews
promptmill results reviews --format csv
promptmill results reviews --follow
promptmill results reviews -o answers.csv
promptmill results reviews -o answers.doc
promptmill results nightly
promptmill results @3
promptmill list
promptmill list --status paused
promptmill list --json --status completed
promptmill show reviews
promptmill show @2
promptmill show @2 --running
promptmill show @2 --history
promptmill show nobody
promptmill show nobody --json
promptmill pause @2
promptmill resume @2
promptmill set @2 --max-concurrent 8 --rate-limit-delay 0 --label tonight
promptmill retry @3
promptmill cancel @2
promptmill cancel @2 -q
promptmill delete @3
promptmill delete @2
promptmill models
promptmill hosts
promptmill workers
promptmill settings
promptmill bench --id @last
promptmill list -v
promptmill list --jsn
promptmill list --limit 0 --json
promptmill lst
promptmill list --model away
promptmill db check
promptmill db upgrade -q
promptmill db check
promptmill keys create alice --scope submit
promptmill keys list
""".splitlines()
Runner = Callable[[list[str], dict[str, str]], Ran]


@pytest.fixture
def here(tmp_path: Path, service: respx.MockRouter, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, and before it the service of the story."""
    tell_story(service)
    (tmp_path / "reviews.csv").write_text("nr,text\n1,Boils fast.\n2,Leaks!\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(
    run: Runner, show: Callable[[Ran], str], here: Path, lines: list[str] = COMMANDS, **more: str
) -> tuple[str, list[Ran]]:
    """All commands with what they show, and how they ran."""
    variables = {
        "HOME": str(here),
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "DATABASE_URL": "sqlite:///promptmill.db",
        **more,
    }
    parts: list[str] = []
    runs: list[Ran] = []
    for line in lines:
        ran = run(shlex.split(line)[1:], variables)
        ran = replace(ran, stdout=masked(ran.stdout), stderr=masked(ran.stderr))
        runs.append(ran)
        status = f"\n(exit status {ran.code})" if ran.code else ""
        parts.append(f"$ {line}\n{show(ran)}".rstrip() + status)
    return "\n\n".join(parts) + "\n", runs


def masked(text: str) -> str:
    """The text without what differs from run to run, as long as before."""
    text = re.sub(r"pm_[\w-]+", lambda found: "pm_".ljust(len(found[0]), "x"), text)
    # The story itself is of one day in the past.
    return re.sub(r"20\d\d-(?!11-23 )\d\d-\d\d \d\d:\d\d:\d\d", "0000-00-00 00:00:00", text)


def compare(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode(), "UPDATE_TRANSCRIPTS=1 writes it anew"


def terminal(columns: int) -> tuple[Runner, Callable[[Ran], str]]:
    return (
        lambda arguments, variables: in_terminal(arguments, columns, variables),
        lambda ran: shown(ran.stdout, columns),
    )


def test_a_terminal_shows_what_its_transcript_says_with_colours_or_without(here: Path) -> None:
    coloured, runs = told(*terminal(80), here, TERM="xterm-256color")
    some = [line for line in COMMANDS[:-6] if "watch" not in line][::4]
    plain, without = told(*terminal(80), here, some, TERM="xterm-256color", NO_COLOR="1")

    compare("terminal", coloured)
    for part in plain.rstrip().split("\n\n$ "):
        assert part in coloured
    assert any(ran.has_colours for ran in runs)
    assert not any(ran.has_colours for ran in without)


def test_a_narrow_terminal_shows_what_its_transcript_says(here: Path) -> None:
    text, _ = told(*terminal(60), here, TERM="xterm-256color")
    compare("narrow", text)


def test_pipes_get_what_their_transcript_says_and_no_escapes(here: Path) -> None:
    def show(ran: Ran) -> str:
        said = "".join(f"2> {line}\n" for line in ran.stderr.splitlines())
        return ran.stdout + said

    text, runs = told(in_pipes, show, here)
    compare("pipes", text)
    assert not any("\x1b" in ran.stdout + ran.stderr for ran in runs)
