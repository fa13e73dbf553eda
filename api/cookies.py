"""How a browser shows a session: a cookie, and for what changes something the proof that a page of ours asks."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from api.problems import ApiError
from api.sessions import Session, Sessions

SESSION = "flows-session"
SECURE_PREFIX = "__Host-"  # a browser takes such a cookie by TLS alone, and from this very host
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
OWN_SITE = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site; none: typed in by the user
DEFAULT_PORTS = {"http": 80, "https": 443}

Connection = ASGIConnection[Any, Any, Any, Any]


def name(connection: Connection, base: str = SESSION) -> str:
    """Return what a cookie is called: otherwise by TLS, so that none from before or from beside it is taken."""
    return f"{SECURE_PREFIX}{base}" if connection.scope["scheme"] == "https" else base


def made(
    connection: Connection,
    value: str,
    seconds: int,
    *,
    base: str = SESSION,
    same_site: Literal["strict", "lax"] = "strict",
) -> Cookie:
    """Return a cookie that scripts do not see, and that no other site's requests carry. 0 seconds: it is deleted."""
    return Cookie(
        key=name(connection, base),
        value=value,
        path="/",
        max_age=seconds,
        secure=connection.scope["scheme"] == "https",
        httponly=True,
        samesite=same_site,
    )


def of_session(connection: Connection, sessions: Sessions, session: Session, now: datetime) -> Cookie:
    """Return the cookie of a session."""
    return made(connection, sessions.cookie(session), session.idle_end - int(now.timestamp()))


def deleted(connection: Connection, base: str = SESSION) -> Cookie:
    """Return what makes a browser forget a cookie."""
    return made(connection, "", 0, base=base)


def shown(connection: Connection, base: str = SESSION) -> str | None:
    """Return the value of a cookie that a request has shown."""
    return connection.cookies.get(name(connection, base))


def session_of(connection: Connection, sessions: Sessions, now: datetime) -> Session | None:
    """Return the session that a request has shown; None when it has ended, or is none of ours.

    Raises 403 for a request that changes something and that no page of ours has sent.
    """
    session = sessions.read(shown(connection) or "", now)
    if session is not None and connection.scope.get("method") not in SAFE:
        check_origin(connection)
        proof = connection.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(proof.encode(), sessions.csrf_token(session).encode()):
            raise ApiError(
                403,
                f"what changes something needs the header `{CSRF_HEADER}` beside the session's cookie: "
                "GET /api/v1/session says which one",
            )
    return session


def check_origin(connection: Connection) -> None:
    """Raise 403 when a browser says that another site's page has made it send the request.

    `Sec-Fetch-Site` is its own word on that; browsers that do not send it say the `Origin` of the page. Who sends
    neither is no browser.
    """
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site is not None:
        own = site in OWN_SITE
    else:
        here = _host_of(f"{connection.scope['scheme']}://{connection.headers.get('host', '')}")
        own = origin is None or (here is not None and _host_of(origin) == here)
    if not own:
        raise ApiError(
            403,
            "a page of another site has sent this. If it was the engine's own, a proxy in front of it does not pass on "
            "the `Host`, or does not say by X-Forwarded-Proto that it speaks TLS",
        )


def _host_of(url: str) -> tuple[str, str | None, int | None] | None:
    """Return scheme, host and port; None for what is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
