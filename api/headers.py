"""The headers that every response has, whoever made it: a browser is told to load, guess, frame and keep nothing."""

from __future__ import annotations

from litestar.types import Message, Scope

DOCUMENTATION = "/schema"  # the one page that runs scripts: its own, from here
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
OWN_SCRIPTS = (
    f"{NOTHING}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
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
_POLICY = (b"content-security-policy", OWN_SCRIPTS.encode())


async def secure(message: Message, scope: Scope) -> None:
    """Add to a response what it does not say itself."""
    if message["type"] == "http.response.start":
        given = list(message["headers"])
        if scope["path"].rstrip("/") == DOCUMENTATION:
            given.append(_POLICY)
        said = {name.lower() for name, _ in given}
        message["headers"] = [*given, *((name, value) for name, value in _RAW if name not in said)]
