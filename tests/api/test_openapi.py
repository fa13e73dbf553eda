"""The served OpenAPI is true: schemathesis finds no 5xx, and nothing that the contract does not say."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from docs import generate
from tests.fuzz import fuzz
from tests.running import ROOT, Client, Running


@pytest.mark.timeout(300)
def test_the_api_is_as_its_contract_says(running: Running, api: Client) -> None:
    # in short: `make fuzz` makes two hundred of each, and goes through all that a shape allows
    done = fuzz(running.url, running.token, 3, "--phases", "fuzzing")
    api.call("PUT", "/settings", {"max_concurrent_jobs": None, "keep_days": None})  # others share this engine
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-1000:]


@pytest.mark.parametrize(("name", "make"), [("openapi", generate.openapi), ("asyncapi", generate.document)])
def test_the_contracts_in_docs_are_current(running: Running, name: str, make: Any) -> None:
    written = (ROOT / "docs" / f"{name}.json").read_text()
    assert written == generate.text(make()), "run `make docs`"
    assert httpx.get(f"{running.url}/schema/{name}.json").json() == json.loads(written)


def test_what_is_refused_everywhere_is_said_everywhere() -> None:
    """A field that nobody knows, and a NUL in a text: the shapes of what clients send allow neither."""
    contract = generate.openapi()
    shapes = contract["components"]["schemas"]
    seen: set[str] = set()
    open_shapes: list[str] = []

    def walk(schema: dict[str, Any], place: str) -> None:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in seen:
                seen.add(name)
                walk(shapes[name], name)
            return
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            open_shapes.append(place)
        if schema.get("type") == "string" and not {"pattern", "enum", "format", "const"} & set(schema):
            open_shapes.append(place)
        inner = {
            **schema.get("properties", {}),
            "[]": schema.get("items"),
            "{}": schema.get("additionalProperties"),
        }
        inner |= {str(number): one for number, one in enumerate(schema.get("anyOf", []))}
        for name, one in inner.items():
            if isinstance(one, dict):
                walk(one, f"{place}.{name}")

    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                walk(parameter["schema"], f"{method} {path} {parameter['name']}")
            for content in operation.get("requestBody", {}).get("content", {}).values():
                walk(content["schema"], f"{method} {path}")
    assert open_shapes == []
    assert {"FlowRequest", "SignInRequest", "EnrolmentRequest", "StrictDisk"} <= seen


def test_every_route_says_its_errors(running: Running) -> None:
    contract = httpx.get(f"{running.url}/schema/openapi.json").json()
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/v1"):
                assert {"401", "503"} <= set(operation["responses"]), f"{method} {path}"
                assert operation.get("description") or operation.get("summary"), f"{method} {path}"
