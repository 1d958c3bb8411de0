"""All proofs, by one command; docs/proof.md tells what each proves and what it printed.

python -m tests.proof [quick|machine|kills|mutants|disk|wal|soak|million|rows|coverage|truth|all]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial

from tests.proof import coverage, kills, machine, million, mutants, rows, soak, truth, wal
from tests.proof.processes import ROOT

DISK = ("tests/process/test_full_disk.py",)
QUICK = (
    "tests/store/test_state_machine.py",
    "tests/store/test_late_completions.py",
    "tests/store/test_races.py",
    *DISK,
)
"""What CI runs with the rest of the suite."""


def run_tests(tests: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("part", nargs="?", default="quick")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule of kills, of coverage")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="prompts under kills, runs of the machine, repetitions of coverage",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the write-ahead log")
    parser.add_argument(
        "--prompts", type=int, default=1_000_000, help="of the large batch, rows of the table"
    )
    parser.add_argument("--work-s", type=float, default=60.0, help="seconds of work on it")
    given = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "quick": partial(run_tests, QUICK),
        "machine": partial(machine.main, scale=given.scale),
        "kills": partial(kills.main, seed=given.seed, scale=given.scale),
        "mutants": mutants.main,
        "disk": partial(run_tests, DISK),
        "wal": partial(wal.main, seconds=given.seconds),
        "soak": partial(soak.main, minutes=given.minutes),
        "million": partial(million.main, prompts=given.prompts, work_s=given.work_s),
        "rows": partial(rows.main, rows=given.prompts, work_s=given.work_s),
        "coverage": partial(coverage.main, seed=given.seed, scale=given.scale),
        "truth": truth.main,
    }
    if given.part not in {*parts, "all"}:
        parser.error(f"no part {given.part!r}: choose from {', '.join(parts)}, all")
    chosen = parts if given.part == "all" else {given.part: parts[given.part]}
    failed: list[str] = []
    for name, prove in chosen.items():
        began = time.monotonic()
        try:
            prove()
        except Exception:  # noqa: BLE001 - whatever it is, the other parts are worth running
            traceback.print_exc()
            failed.append(name)
        print(f"\n{name}: {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        sys.exit(f"not proven: {', '.join(failed)}")


if __name__ == "__main__":
    main()
