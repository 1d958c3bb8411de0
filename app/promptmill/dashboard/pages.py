"""Responses from templates: common parts of all pages, their policy, and errors as pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Final, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from promptmill.access.routes import ADMIN, SUBMIT
from promptmill.dashboard import assets, charts, wording
from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.errors import (
    Conflict,
    Invalid,
    LimitExceeded,
    NotFound,
    PromptmillError,
    Unavailable,
)
from promptmill.services.resources import Resources
from promptmill.version import version

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; frame-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
"""Security policy of every page: no inline code, no foreign content, no foreign frames."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with it browsers send `Origin: null` with the forms of these pages.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept",
}
_LARGEST_FORM: Final = 64 * 1024
_REFRESH: Final = "X-Promptmill-Refresh"
"""The header with which the script of a page asks for the page again."""
_REFRESHED_S: Final = 0.9
"""Less than the second that the script waits at least."""


_STATUS: Final[tuple[tuple[type[PromptmillError], int, str], ...]] = (
    (NotFound, 404, "There is nothing here"),
    (Conflict, 409, "That cannot be done now"),
    (Invalid, 422, "That is not right yet"),
    (LimitExceeded, 429, "A limit is reached"),
    (Unavailable, 503, "The service cannot do this now"),
)


BatchId = Annotated[str, Path(pattern=r"^batch_[0-9a-z]{1,64}$")]
HostId = Annotated[str, Path(pattern=r"^host_[0-9]{1,18}$")]
BenchmarkId = Annotated[str, Path(pattern=r"^bench_[0-9a-z]{1,64}$")]
_CURSOR: Final = re.compile(r"(batch|bench)_[0-9a-z]{1,64}")
_LONGEST_TEXT: Final = 2048


def text_of(request: Request, name: str) -> str | None:
    """A text of the address; None for an empty one, without what no database can compare."""
    text = request.query_params.get(name, "").replace("\x00", "")[:_LONGEST_TEXT]
    return text.encode(errors="ignore").decode() or None


def cursor_of(request: Request) -> str | None:
    """The id before which a page begins; None for anything that is no id."""
    text = request.query_params.get("before", "")
    return text if _CURSOR.fullmatch(text) else None


class Given(dict[str, Any]):
    """Values that a client gave, by name; a missing name has the value None in templates."""

    def __missing__(self, name: str) -> None:
        """Return None for a name that was not given."""
        return


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates, with the filters and functions that they use."""
    found = Environment(
        loader=PackageLoader("promptmill.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cast("dict[str, Any]", found.filters).update(wording.FILTERS)
    cast("dict[str, Any]", found.globals).update(
        {
            "version": version(),
            "edition": assets.edition(),
            "progress_bar": charts.progress_bar,
            "query": wording.query,
        }
    )
    return found


def show(
    request: Request,
    template: str,
    *,
    status: int = 200,
    **context: Any,  # noqa: ANN401
) -> Response:
    """The page, with a tag that says whether another one differs."""
    caller = caller_of(request)
    html = (
        environment()
        .get_template(template)
        .render(
            base=request.scope.get("root_path", ""),
            path=request.url.path,
            request_base=str(request.base_url).rstrip("/"),
            fields=Given(request.query_params),
            is_open=not request.scope.get("state", {}).get("needs_key", False),
            caller=caller,
            may_submit=caller.may(SUBMIT),
            may_admin=caller.may(ADMIN),
            told=_told(request),
            **context,
        )
    )
    content = html.encode(errors="replace")
    tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    return Response(content, status, {**_HEADERS, "ETag": tag}, "text/html; charset=utf-8")


_TELLINGS: Final = {
    "paused": "The batch is paused: what runs may finish, nothing more is started.",
    "resumed": "The batch goes on.",
    "cancelled": "The batch is being cancelled. Finished results stay.",
    "retried": "What had no success waits for another run.",
    "changed": "The limits are changed; the next start goes by them.",
    "deleted": "It is deleted.",
    "disabled": "The host is out of service: what runs there may end, nothing more is started.",
    "enabled": "The host is back in service.",
    "bench-cancelled": "The benchmark is being cancelled. Runs that were made stay.",
}
"""Messages of actions on the page that follows; the address has only the name."""


def _told(request: Request) -> str | None:
    return _TELLINGS.get(request.query_params.get("done", ""))


def go_to(request: Request, path: str, *, done: str) -> Response:
    """Redirect to a page after an action, which the page reports."""
    base = request.scope.get("root_path", "")
    mark = "&" if "?" in path else "?"
    return RedirectResponse(f"{base}{path}{mark}done={done}", 303, _HEADERS)


class PageRoute(APIRoute):
    """A route whose errors are told as a page, and whose page is made once for all who refresh it.

    A page that is loaded is always made anew. One that its script asks for again, a second after it
    was loaded or later, may be as old as `_REFRESHED_S`: so it never shows what was before.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the errors that the service raises on purpose turned into pages."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                if request.method != "GET" or _REFRESH not in request.headers:
                    return await handle(request)
                caller = caller_of(request)
                name = ("page", str(request.url), caller.key_id, caller.scopes)
                snapshots = resources_of(request).snapshots
                page = await snapshots.shared(name, _REFRESHED_S, lambda: handle(request))
                return _unless_known(request, page)
            except PromptmillError as error:
                return _error_page(request, error)
            except RequestValidationError:
                return _error_page(request, NotFound("There is no page of this address."))

        return told


def _unless_known(request: Request, page: Response) -> Response:
    """The page; 304 without a body when the browser says that it has just this one."""
    tag = page.headers.get("etag")
    if tag is None or request.headers.get("if-none-match") != tag:
        return page
    return Response(status_code=304, headers={**_HEADERS, "ETag": tag})


def page_router() -> APIRouter:
    """A router for pages: not in the API's document, errors told as pages."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def _error_page(request: Request, error: PromptmillError) -> Response:
    status, title = next(
        ((status, title) for kind, status, title in _STATUS if isinstance(error, kind)),
        (500, "Something went wrong"),
    )
    problems = error.problems if isinstance(error, Invalid) else ()
    return show(
        request,
        "error.html.j2",
        status=status,
        title=title,
        sentence=str(error),
        problems=problems,
        request_id=request.scope.get("state", {}).get("request_id"),
    )


def resources_of(request: Request) -> Resources:
    """The process's resources, which the application's lifespan has put on its state."""
    found: Resources = request.app.state.resources
    return found


def caller_of(request: Request) -> Caller:
    """Caller of the request, as access control has determined it."""
    found: Caller = request.scope.get("state", {}).get("caller", ANYBODY)
    return found


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent.

    Raises:
        Invalid: It is larger than any form of these pages.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            raise Invalid("The form is larger than any form of these pages.")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
