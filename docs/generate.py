"""Writes the API's contract (`docs/openapi.json`) and the events' (`docs/asyncapi.json`). `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from api.app import create_app
from api.asyncapi import document
from api.auth import Tokens

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
