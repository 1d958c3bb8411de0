"""Faults, put into a copy of the tree one at a time: the suite notices each.

    python -m tests.proof mutants

Each mutant is run against the smallest part of the suite that must fail; the same part must pass
on the unchanged copy. A mutant that survives, or one whose place in the code is not found any more,
fails the proof.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.proof.processes import ROOT, scratch

COPIED = ("app", "migrations", "tests", "docs", "pyproject.toml")


@dataclass(frozen=True)
class Change:
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A fault, and the tests of which at least one must notice it."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


QUEUE = "app/promptmill/store/queue/completions.py"
RETURNS = "app/promptmill/store/queue/returns.py"
CLAIMS = "app/promptmill/store/queue/claims.py"
RACES = "tests/store/test_races.py"
GROUPS = "tests/store/test_groups.py"
FIRST_TABLES = "migrations/versions/0001_first_release.py"

MUTANTS = (
    Mutant(
        "no lease token where a completion is recorded",
        (
            Change(
                QUEUE,
                '            pairs_in(task.c.id, task.c.lease_token, "held"),\n',
                "",
            ),
        ),
        ("tests/store/test_queue.py::test_a_late_completion_is_fenced_off",),
    ),
    Mutant(
        "no lease token where a prompt is put back",
        (
            Change(
                RETURNS,
                '        task.c.lease_token == sa.bindparam("token"),\n',
                '        sa.bindparam("token", type_=sa.BigInteger) > -1,\n',
            ),
        ),
        ("tests/store/test_late_completions.py",),
    ),
    Mutant(
        "LIMIT in a sub-select instead of a CTE",
        (
            Change(
                CLAIMS,
                'due_tasks(*conditions).cte("due")',
                'due_tasks(*conditions).subquery("due")',
            ),
        ),
        ("tests/store/test_races.py::test_a_claim_takes_no_more_than_it_may_whatever_the_plan",),
    ),
    Mutant(
        "each text of a shared call takes a slot",
        (
            Change(
                CLAIMS,
                'sa.case((ids_in(task.c.id, "first_ids"), ',
                'sa.case((ids_in(task.c.id, "ids"), ',
            ),
        ),
        ("tests/store/test_shared_calls.py::test_slots_count_calls",),
    ),
    Mutant(
        "the job's running prompts counted before its lock is held",
        (Change(CLAIMS, "    if not tx.is_sqlite:\n", "    if False:\n"),),
        (f"{RACES}::test_a_claim_counts_what_others_committed_while_it_looked_for_a_job",),
    ),
    Mutant(
        "the host's slots filled although another transaction has its row",
        (
            Change(
                CLAIMS,
                'not tx.execute(_LOCK_HOST, {"host_key": share.key}).first()',
                "False",
            ),
        ),
        (f"{RACES}::test_claims_of_two_jobs_at_once_never_exceed_the_slots_of_their_host",),
    ),
    Mutant(
        "the host's group not looked at again under the job's lock",
        (
            Change(
                CLAIMS,
                'True: _taking_due(runs_group(sa.bindparam("claimed_load")))',
                "True: _taking_due()",
            ),
        ),
        (f"{GROUPS}::test_a_claim_that_chose_its_job_before_the_switch_began_gives_out_nothing",),
    ),
    Mutant(
        "a host switches without waiting for claims that are under way",
        (
            Change(
                "app/promptmill/store/hosts/model_switching.py",
                "        wait_for_claims(tx)\n",
                "        pass\n",
            ),
        ),
        (f"{GROUPS}::test_a_switch_waits_for_the_claim_that_was_under_way_when_it_began",),
    ),
    Mutant(
        "a benchmark's host not looked at again under the job's lock",
        (
            Change(
                "app/promptmill/store/queue/candidates.py",
                "            # Checked again, now that the job is locked: see `exclusivity.wait_for_claims`.\n"
                "            HOST_IS_FREE,\n",
                "",
            ),
        ),
        (
            (
                f"{RACES}::"
                "test_a_claim_that_chose_its_job_before_the_host_was_taken_gives_out_nothing_after"
            ),
        ),
    ),
    Mutant(
        "a call that is made although its permit is over",
        (
            Change(
                "app/promptmill/worker/executor.py",
                "        if missed:\n            STARTS_LATE.inc()\n            return None\n",
                "",
            ),
        ),
        ("tests/worker/test_starts.py",),
    ),
    Mutant(
        "the next start permitted without regard to how late the last may come",
        (Change(CLAIMS, "limits, window_s=terms.start_window_s)", "limits)"),),
        ("tests/store/test_queue.py",),
    ),
    Mutant(
        "a permit taken back although another start was permitted since",
        (Change(RETURNS, '        job.c.last_permit == sa.bindparam("token"),\n', ""),),
        ("tests/store/test_queue.py",),
    ),
    Mutant(
        "a sweep that does not look whether its batch is still to be cancelled",
        (
            Change(
                "app/promptmill/store/queue/bulk.py",
                "    if not _lock_job(tx, job_key, _IS_CANCELLED):\n        return 0\n",
                "",
            ),
        ),
        ("tests/store/test_old_lists.py",),
    ),
    Mutant(
        "a usage limit that stands for as long as the clock was ahead",
        (
            Change(
                "app/promptmill/store/db/clocks.py",
                '    tx.execute(_LIMITS, {"far_limit": far_limit})\n',
                "",
            ),
        ),
        ("tests/store/test_old_lists.py",),
    ),
    Mutant(
        "the next start after a clock was set back, without regard to how late the last may come",
        (
            Change(
                "app/promptmill/store/db/clocks.py",
                "(job.c.rate_limit_delay_s > 0, _FAR_START)",
                '(job.c.rate_limit_delay_s > 0, sa.bindparam("now"))',
            ),
        ),
        ("tests/store/test_old_lists.py",),
    ),
    Mutant(
        "a full host taken for one without work",
        (
            Change(
                "app/promptmill/worker/dispatcher.py",
                "ask.is_short = len(leases) < room.number and not leave",
                "ask.is_short = len(leases) < wanted and not leave",
            ),
        ),
        ("tests/worker/test_full_hosts.py",),
    ),
    Mutant(
        "no primary key on results",
        (
            Change(
                FIRST_TABLES, '        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),\n', ""
            ),
        ),
        ("tests/store/test_queue.py::test_the_database_itself_refuses_a_second_result",),
    ),
)


def main() -> None:
    """Every mutant dies; raises at the first that does not."""
    with scratch("mutants") as folder:
        print("The suite against the code as it is, and with a fault put in:")
        for number, mutant in enumerate(MUTANTS):
            tree = folder / f"tree-{number}"
            _copy(tree)
            began = time.monotonic()
            sound = _run(tree, mutant.tests)
            assert sound.returncode == 0, f"fails without a fault:\n{sound.stdout}"
            for change in mutant.changes:
                _apply(tree, change)
            ill = _run(tree, mutant.tests)
            # 1: tests were run and some failed. Anything else is no judgement.
            assert ill.returncode in {0, 1}, f"did not run:\n{ill.stdout}"
            assert ill.returncode == 1, f"the mutant survives: {mutant.name}"
            failed = [line for line in ill.stdout.splitlines() if line.startswith("FAILED")]
            print(f"  dead  {mutant.name}  ({time.monotonic() - began:.0f} s)")
            for line in failed:
                print(f"        {line.removeprefix('FAILED ').partition(' - ')[0]}")
            shutil.rmtree(tree)


def _copy(tree: Path) -> None:
    unneeded = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=unneeded)
        else:
            shutil.copy(ROOT / name, tree / name)


def _apply(tree: Path, change: Change) -> None:
    path = tree / change.file
    text = path.read_text()
    assert text.count(change.old) == 1, f"{change.file} has no longer, once:\n{change.old}"
    path.write_text(text.replace(change.old, change.new))


def _run(tree: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    # The copy's package and not the installed one.
    environment = {**os.environ, "PYTHONPATH": str(tree / "app")}
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tree.parent / 'pytest'}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
