"""Dependencies of handlers: resources, ids, idempotency key, checked query."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel

from promptmill.api.errors.unstorable import text_fault
from promptmill.api.errors.violations import Faults, unknown_name
from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.errors import NotFound
from promptmill.services.resources import Resources

METADATA_PREFIX: Final = "metadata."
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
IDEMPOTENCY_KEY: Final = re.compile(r"^[!-~]{1,255}$")
"""Pattern of the header `Idempotency-Key`."""

_BATCH_ID = re.compile(r"batch_[0-9a-z]{1,64}")
_BENCHMARK_ID = re.compile(r"bench_[0-9a-z]{1,64}")
_MOST_PARAMETERS = 50
_LONGEST_VALUE = 2048


def resources_of(request: Request) -> Resources:
    """Resources of the process, for a handler."""
    return resources_in(request.app)


def resources_in(app: FastAPI) -> Resources:
    """Resources of the process, which the application's lifespan stored on its state."""
    resources = app.state.resources
    if not isinstance(resources, Resources):
        raise TypeError("The application's lifespan must set `app.state.resources`.")
    return resources


async def caller_in(request: Request) -> Caller:
    """Sender of the request, as access control has determined it."""
    return request.scope.get("state", {}).get("caller", ANYBODY)


async def _resources(request: Request) -> Resources:
    # FastAPI runs a plain function in a thread.
    return resources_of(request)


def _batch_id(value: str) -> str:
    # A malformed id is not looked up: a database may even refuse to compare it.
    if not _BATCH_ID.fullmatch(value):
        raise NotFound("There is no batch of this id.")
    return value


def _benchmark_id(value: str) -> str:
    if not _BENCHMARK_ID.fullmatch(value):
        raise NotFound("There is no benchmark of this id.")
    return value


async def idempotency_key_of(request: Request) -> str | None:
    """Read the header `Idempotency-Key`; None without it.

    Raises:
        Invalid: The header is not a valid key.
    """
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        faults = Faults()
        faults.add(
            ("header", IDEMPOTENCY_HEADER), "must have 1 to 255 visible ASCII characters, no spaces"
        )
        faults.raise_if_any()
    return key


class StrictRoute(APIRoute):
    """Route that refuses unknown query parameters, and any given twice."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler in the check of the query."""
        handle = super().get_route_handler()
        known: set[str] = set()
        for parameter in self.dependant.query_params:
            kind = parameter.field_info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                fields = kind.model_fields
                known |= {field.alias or name for name, field in fields.items()}
            else:
                known.add(parameter.alias)
        filters = any(one.call is metadata_filter for one in self.dependant.dependencies)
        prefix = METADATA_PREFIX if filters else None

        async def strict(request: Request) -> Response:
            faults = Faults()
            check_query(request, known, faults, prefix=prefix)
            faults.raise_if_any()
            return await handle(request)

        return strict


def check_query(
    request: Request,
    known: Collection[str],
    faults: Faults,
    *,
    prefix: str | None = None,
    longest: int = _LONGEST_VALUE,
) -> None:
    """Add faults for query parameters that are unknown, repeated, or longer than `longest` bytes.

    Raises:
        Invalid: There are far too many.
    """
    given = request.query_params.multi_items()
    if len(given) > _MOST_PARAMETERS:
        faults.add(("query",), f"has {len(given)} parameters; at most {_MOST_PARAMETERS}")
        faults.raise_if_any()
    seen: set[str] = set()
    for name, value in given:
        place = ("query", name)
        if name in seen:
            faults.add(place, "is given twice; give it once")
        elif name not in known and not (prefix and name.startswith(prefix)):
            faults.add(place, unknown_name(name, known, what="query parameter"))
        elif fault := text_fault(value, longest):
            faults.add(place, fault)
        seen.add(name)


async def metadata_filter(request: Request) -> dict[str, str]:
    """Read the pairs of `?metadata.name=value`.

    Raises:
        Invalid: A name is empty or too long to be one.
    """
    faults = Faults()
    pairs: dict[str, str] = {}
    for parameter, value in request.query_params.items():
        name = parameter.removeprefix(METADATA_PREFIX)
        if name == parameter:
            continue
        if not 1 <= len(name) <= 64:  # noqa: PLR2004 - as in the schema of `metadata`
            faults.add(("query", parameter), "must name a pair of `metadata`")
        elif fault := text_fault(name, _LONGEST_VALUE):
            faults.add(("query", parameter), fault)
        pairs[name] = value
    faults.raise_if_any()
    return pairs


CallerOf = Annotated[Caller, Depends(caller_in)]
ResourcesOf = Annotated[Resources, Depends(_resources)]
BatchId = Annotated[
    str,
    AfterValidator(_batch_id),
    Path(description="The batch's `id`.", examples=["batch_01kaf0z6b7c8d9e0f1g2h3j4k5"]),
]
BenchmarkId = Annotated[
    str,
    AfterValidator(_benchmark_id),
    Path(description="The benchmark's `id`.", examples=["bench_01kaf0z6b7c8d9e0f1g2h3j4k5"]),
]
IdempotencyHeader = Annotated[str | None, Depends(idempotency_key_of)]
MetadataFilter = Annotated[dict[str, str], Depends(metadata_filter)]
