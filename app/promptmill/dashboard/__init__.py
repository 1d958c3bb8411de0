"""The pages at `/` and below `/ui`: rendered here from the services that the API uses as well.

    routes     one file for each screen: what is asked for, and which template shows it
    templates  the pages, Jinja2; nothing in them is trusted (autoescape, no `safe`)
    static     one stylesheet and small scripts; pages can be read without scripts
    charts     pictures as SVG, drawn here
    pages      from a template to an answer, with the policy of every page

Who may see and press what is decided by `access` before any route here is asked, which also sends
a browser without a session to the login. A page learns from the request's `caller` whose session it
is, and leaves out the buttons that the key may not press.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from promptmill.dashboard import assets
from promptmill.dashboard.routes import (
    batch,
    batches,
    benchmark,
    benchmarks,
    hosts,
    login,
    overview,
    prompt,
    settings,
    steering,
)

__all__ = ["PAGES", "install_dashboard"]

_SCREENS = (
    overview,
    batches,
    batch,
    prompt,
    steering,
    hosts,
    benchmarks,
    benchmark,
    settings,
    login,
)
PAGES: Final = (*(screen.router for screen in _SCREENS), assets.router)
"""The routes of every page."""


def install_dashboard(app: FastAPI) -> None:
    """Add the pages to the application of the API, whose state has the resources."""
    app.state.has_pages = True
    for router in PAGES:
        app.include_router(router)
