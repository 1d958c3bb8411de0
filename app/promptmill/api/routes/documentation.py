"""Endpoints `/docs`, `/redoc` and `/problems`: documentation that needs no internet.

Scripts and styles come from the installed `fastapi-offline` package, and the pages' security policy
forbids the browser to load anything from elsewhere.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response

from promptmill.api.errors.problems import KINDS
from promptmill.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' data:; font-src 'self'; worker-src blob:; base-uri 'none';"
    " frame-ancestors 'none'"
)
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
# Relative addresses also work below the prefix of a proxy.
_SWAGGER_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Promptmill: the API, to try out</title>
<link rel="icon" href="docs/assets/favicon.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_SWAGGER_START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
"""
_REDOC_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Promptmill: the API, to read</title>
<link rel="icon" href="docs/assets/favicon.png">
</head>
<body>
<redoc spec-url="openapi.json"></redoc>
<script src="docs/assets/redoc.standalone.js"></script>
</body>
</html>
"""


@router.get("/docs")
async def show_swagger() -> Response:
    """Page for trying out the API (Swagger UI)."""
    return _page(_SWAGGER_PAGE)


@router.get("/docs/start.js")
async def start_swagger() -> Response:
    """Script that starts the page; a separate file, so that inline scripts can be forbidden."""
    return Response(_SWAGGER_START, media_type="text/javascript")


@router.get("/redoc")
async def show_redoc() -> Response:
    """Page for reading the API (ReDoc)."""
    return _page(_REDOC_PAGE)


@router.get("/docs/assets/{name}")
async def send_asset(name: str) -> Response:
    """Script, style or image of the pages."""
    if name not in _ASSETS:
        raise NotFound("There is no such file.")
    path = str(files("fastapi_offline").joinpath("static", name))
    return FileResponse(
        path, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"}
    )


@router.get("/problems/{slug}")
async def explain_problem(slug: str) -> Response:
    """Explanation of a problem's `type`."""
    for kind in KINDS:
        if kind.slug == slug:
            return PlainTextResponse(f"{kind.title} (HTTP {kind.status})\n\n{kind.meaning}\n")
    raise NotFound("There is no such problem.")


def _page(html: str) -> Response:
    return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})
