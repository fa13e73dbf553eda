"""Writes the contracts of the API and of the events (`openapi.json`, `asyncapi.json`), and `nats.conf`. `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from api.app import create_app
from api.asyncapi import document
from api.auth import Tokens
from bus.configuration import nats_conf

HERE = Path(__file__).parent


def openapi() -> dict[str, object]:
    """Return what `/schema/openapi.json` serves."""
    app = create_app(nats_url="nats://nowhere", database_url="sqlite+aiosqlite:////nowhere", tokens=Tokens("none"))
    return app.openapi_schema.to_schema()


def text(contract: dict[str, object]) -> str:
    return json.dumps(contract, indent=1, sort_keys=True, default=str) + "\n"


if __name__ == "__main__":
    (HERE / "openapi.json").write_text(text(openapi()))
    (HERE / "asyncapi.json").write_text(text(document()))
    (HERE.parent / "nats.conf").write_text(nats_conf())
