"""The headers that every response has, whoever made it: a browser is told to load, guess, frame and keep nothing."""

from __future__ import annotations

from litestar.types import Message, Scope

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# for the page of the documentation, whose scripts are files from here
OWN_SCRIPTS = (
    f"{NOTHING}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
# for the page itself: files from here, and nothing that stands in the document
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": NOTHING,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


async def secure(message: Message, _scope: Scope) -> None:
    """Add to a response what it does not say itself."""
    if message["type"] == "http.response.start":
        given = list(message["headers"])
        said = {name.lower() for name, _ in given}
        message["headers"] = [*given, *((name, value) for name, value in _RAW if name not in said)]
