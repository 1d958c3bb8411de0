"""`/ui/login` and `/ui/logout`: a key is given once, and a cookie stands for it from then on."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from promptmill.access.callers import check_key
from promptmill.access.routes import READ
from promptmill.access.sessions import LOGIN, page_after_login, sessions_in, set_cookie
from promptmill.dashboard.pages import form_of, page_router, resources_of, show
from promptmill.domain.errors import TooManyAttempts, Unauthenticated
from promptmill.observability.logs import get_logger
from promptmill.services.access import keys, sessions

router = page_router()
_log = get_logger()


@router.get("/ui/login")
async def login_page(request: Request) -> Response:
    """The form for a key; where there are no keys, the overview."""
    if not await keys.are_needed(resources_of(request)):
        return _on_to(request, "/")
    return _form(request, request.query_params.get("next", ""))


@router.post("/ui/login")
async def login(request: Request) -> Response:
    """A session for a good key, and on to the page that was asked for before."""
    resources, form = resources_of(request), await form_of(request)
    key, wanted = form.get("key", "").strip(), form.get("next", "")
    try:
        caller = await check_key(resources, request.scope, key)
    except Unauthenticated as error:
        _log.warning("A login was refused: the key is not good.", action="login_refused", key=None)
        return _form(request, wanted, str(error), status=401)
    except TooManyAttempts as error:
        _log.warning("A login was refused: too many wrong keys.", action="login_refused", key=None)
        return _form(request, wanted, str(error), status=429)
    if not caller.may(READ):
        _log.warning(
            "A login was refused: the key opens no page.", action="login_refused", key=caller.name
        )
        sentence = f"The key {caller.name} opens no page: it has none of the scopes that read."
        return _form(request, wanted, sentence, status=403)
    text = await sessions.begin(resources, caller, key)
    _log.info("A browser has logged in.", action="login", key=caller.name)
    response = _on_to(request, page_after_login(wanted))
    set_cookie(response, request.scope, text)
    return response


@router.post("/ui/logout")
async def logout(request: Request) -> Response:
    """The end of the session, here and in the database."""
    for text in sessions_in(request.scope):
        await sessions.end(resources_of(request), text)
    response = _on_to(request, LOGIN)
    set_cookie(response, request.scope, "")
    return response


def _form(
    request: Request, wanted: str, sentence: str | None = None, *, status: int = 200
) -> Response:
    return show(
        request, "login.html.j2", status=status, wanted=page_after_login(wanted), sentence=sentence
    )


def _on_to(request: Request, path: str) -> Response:
    base = request.scope.get("root_path", "").rstrip("/")
    return RedirectResponse(base + path, 303, {"Cache-Control": "no-store"})
