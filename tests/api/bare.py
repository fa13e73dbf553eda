"""The application without what it works on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from litestar import Litestar

from api.app import create_app
from api.auth import Tokens
from api.resources import Resources


def app() -> Litestar:
    """The application, without its resources: what is refused at the door needs none."""
    made = create_app(nats_url="nats://nowhere", database_url="sqlite+aiosqlite://", tokens=Tokens("t"))
    made._lifespan_managers.clear()
    made.state.tokens = Tokens("t")
    nothing: Any = SimpleNamespace()
    made.state.resources = Resources(nothing, nothing, nothing, nothing)
    return made


APP = app()
