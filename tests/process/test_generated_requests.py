"""Schemathesis sends what the OpenAPI document allows, and what it does not, with every scope.

Not one answer is a 5xx or has a shape that the document does not give, and what fits its schema is
refused only for a reason that the document gives. The stateful phase follows the document's links.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from promptmill.api import build_api
from tests.process.conftest import Service
from tests.process.documented_refusals import REASONS, words_of

ROOT = Path(__file__).parents[2]
EXAMPLES = {"admin": 15, "submit": 8, "read": 5, "metrics": 3}
"""Requests for each operation, and runs along the links.

They are counted and not timed, so that a seed gives the same requests on any machine.
"""
FIXED_SEED = 15


@cache
def words_of_operations() -> dict[str, str]:
    document = build_api().openapi()
    return {
        f"{method.upper()} {path}": words_of(
            [document["info"], operation], document["components"]["schemas"]
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize(
    "reason", REASONS, ids=lambda reason: f"{reason.operation} {reason.detail}"
)
def test_the_document_tells_of_each_refusal_of_what_fits_its_schema(reason) -> None:
    told = [
        words
        for name, words in words_of_operations().items()
        if re.fullmatch(reason.operation, name)
    ]

    assert any(reason.said in words for words in told)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("scope", "seed"),
    [
        *((scope, FIXED_SEED) for scope in EXAMPLES),
        # What new requests find is no fault of the change that is being checked.
        pytest.param("admin", None, marks=pytest.mark.long),
    ],
)
def test_no_request_gets_an_answer_that_the_document_does_not_give(
    serve: Callable[..., Service],
    simulate: Callable[..., object],
    tmp_path: Path,
    scope: str,
    seed: int | None,
) -> None:
    if seed is None:
        seed = random.randrange(2**32)
        print(f"seed {seed}")
    phases = ["examples", "fuzzing", "stateful"]
    if (scope, seed) == ("admin", FIXED_SEED):
        # Thousands of requests, which go through every bound of every field.
        phases.append("coverage")
    host, _ = simulate()
    key = f"{scope}-key-for-generated-requests"
    service = serve(
        host, PROMPTMILL_API_KEYS=f"{scope}={key}:{scope}", PROMPTMILL_DEFAULT_MODEL="tiny"
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"{service.http.base_url}/openapi.json",
        *("--header", f"Authorization: Bearer {key}"),
        *("--seed", str(seed), "--max-examples", str(EXAMPLES[scope]), "--request-timeout", "60"),
        *("--phases", ",".join(phases), "--suppress-health-check", "all", "--warnings", "off"),
        # Instead of the first, `refusals_are_documented`.
        *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure", "--no-shrink"),
        *("--generation-database", "none", "--no-color"),
    ]

    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.process.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    told = ran.stdout + ran.stderr
    assert ran.returncode == 0, f"seed {seed}\n{told}"
    for phase in phases if scope in {"admin", "submit"} else ():
        assert re.search(rf"✅ +{phase.title()}", told), told
    print(told[-400:])
