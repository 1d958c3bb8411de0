"""The cookie of a session, and where a browser without one is sent."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from promptmill.access.routes import find_route
from promptmill.access.sessions import (
    cookie_name,
    login_address,
    page_after_login,
    sessions_in,
    set_cookie,
)


def scope_of(path: str = "/", method: str = "GET", query: str = "", root: str = "", **headers: str):
    given = {"host": "localhost:8000", "accept": "text/html", **headers}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


def sent_to(path: str, **given: str) -> str | None:
    return login_address(scope_of(path, **given), find_route(path.removeprefix("/mill")))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8000", "promptmill_session_8000"),
        ("localhost:8001", "promptmill_session_8001"),
        ("mill.example", "promptmill_session"),
    ],
)
def test_two_services_of_one_machine_have_cookies_of_their_own(host: str, name: str) -> None:
    assert cookie_name(scope_of(host=host)) == name


def test_every_session_of_the_name_is_found_and_nothing_else() -> None:
    cookie = "a=1; promptmill_session_8000=one; promptmill_session=no; promptmill_session_8000=two"
    assert sessions_in(scope_of(cookie=cookie)) == ["one", "two"]
    assert sessions_in(scope_of(cookie="promptmill_session_8000=")) == []
    assert len(sessions_in(scope_of(cookie="promptmill_session_8000=x;" * 99))) == 4


@pytest.mark.parametrize(
    ("scheme", "root", "path"), [("http", "", "/"), ("https", "/mill", "/mill")]
)
def test_the_cookie_is_for_this_service_alone(scheme: str, root: str, path: str) -> None:
    response = Response()
    set_cookie(response, {**scope_of(root=root), "scheme": scheme}, "text")
    name, *attributes = response.headers["set-cookie"].split("; ")
    assert name == "promptmill_session_8000=text"
    expected = {"HttpOnly", "Max-Age=43200", f"Path={path}", "SameSite=lax"}
    assert set(attributes) == expected | ({"Secure"} if scheme == "https" else set())


def test_a_person_is_sent_to_the_login_and_comes_back() -> None:
    assert sent_to("/") == "/ui/login"
    assert (
        sent_to("/ui/batches", query="q=a&b=%23")
        == "/ui/login?next=/ui/batches%3Fq%3Da%26b%3D%2523"
    )
    assert sent_to("/mill/ui/hosts", root="/mill") == "/mill/ui/login?next=/ui/hosts"
    assert sent_to("/ui/batches/batch_0/pause", method="POST") == "/ui/login"


@pytest.mark.parametrize(
    ("path", "accept"), [("/", "*/*"), ("/batches", "text/html"), ("/nowhere", "text/html")]
)
def test_a_program_is_not_sent_to_the_login(path: str, accept: str) -> None:
    assert sent_to(path, accept=accept) is None


@pytest.mark.parametrize("good", ["/", "/docs", "/ui/batches?status=running", "/ui/batches/b_1"])
def test_a_login_leads_to_the_page_that_was_asked_for(good: str) -> None:
    assert page_after_login(good) == good


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "//evil.example",
        "//evil.example/ui/batches",
        "https://evil.example/ui/batches",
        "/\\evil.example",
        "/ui/batches/\\evil",
        "/ui/batches?a=\r\nSet-Cookie: a",
        "/ui/batches#a",
        "/ui/login",
        "/ui/logout",
        "/batches",
        "/nowhere",
        "/ui/batches?q=" + "a" * 2048,
    ],
)
def test_a_login_leads_nowhere_else(wanted: str) -> None:
    assert page_after_login(wanted) == "/"
