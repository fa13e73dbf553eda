"""Routes of the page. Its addresses all give the one document, which then shows what the address says."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, Router, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from api.headers import PAGE as POLICY
from api.page.files import ASSETS, File, Page
from api.page.pointers import HINT, POINTERS
from api.problems import ApiError

# the first part of what stands in web/src/pages/index.ts
SECTIONS = (
    *("login", "timeline", "executions", "flows", "vms", "groups", "backups", "schedules", "repositories", "policies"),
    *("notifications", "workers", "log", "audit", "tokens", "settings"),
)
FOR_EVER = "public, max-age=31536000, immutable"  # a name says what is in it
ASKED_ABOUT = "no-cache"

_Request = Request[Any, Any, Any]


def router(page: Page | None) -> Router:
    """Return the routes of a page; of one that was not built, which say how to."""

    @route("/", http_method=["GET", "HEAD"], include_in_schema=False, sync_to_thread=False)
    def root(request: _Request) -> Response[Any]:
        """Show a browser the page, and give anybody else the addresses of the API as JSON."""
        if request.accept.best_match(["application/json", MediaType.HTML]) != MediaType.HTML:
            return Response(POINTERS, media_type=MediaType.JSON, headers={"Vary": "Accept"})
        return _document(request, page)

    paths = [f"/{section}{rest}" for section in SECTIONS for rest in ("", "/{rest:path}")]

    @route(paths, http_method=["GET", "HEAD"], include_in_schema=False, sync_to_thread=False)
    def document(request: _Request) -> Response[Any]:
        return _document(request, page)

    @route(f"/{ASSETS}/{{name:str}}", http_method=["GET", "HEAD"], include_in_schema=False, sync_to_thread=False)
    def asset(request: _Request, name: FromPath[str]) -> Response[Any]:
        found = None if page is None else page.assets.get(name)
        if found is None:
            raise ApiError(404, f"the page has no file {name!r}: it may be of another version; load the page anew")
        return _sent(request, found, {"Cache-Control": FOR_EVER})

    handlers: list[HTTPRouteHandler] = [root, document, asset]
    return Router(path="/", route_handlers=handlers, opt={"public": True})


def _document(request: _Request, page: Page | None) -> Response[Any]:
    if page is None:
        return Response(HINT, media_type=MediaType.HTML, headers={"Content-Security-Policy": POLICY, "Vary": "Accept"})
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": ASKED_ABOUT}
    return _sent(request, page.index, headers, vary="Accept, Accept-Encoding")


def _sent(request: _Request, file: File, headers: dict[str, str], vary: str = "Accept-Encoding") -> Response[Any]:
    """Return a file, compressed for who takes that; 304 for who has it."""
    said = {**headers, "ETag": file.etag, "Vary": vary}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(None, status_code=304, headers=said)
    takes = "gzip" in request.headers.get("accept-encoding", "").lower()
    if takes and file.compressed is not None:
        said |= {"Content-Encoding": "gzip"}
        return Response(file.compressed, media_type=file.media_type, headers=said)
    return Response(file.content, media_type=file.media_type, headers=said)
