"""OpenAPI: its settings, its offline page, and what the generator gets wrong."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, Schema, SecurityScheme

from services.worker.engines.registration import ENGINES

ASSETS = "/schema/assets"


def config() -> OpenAPIConfig:
    """Return OpenAPI's settings; its page loads nothing from elsewhere."""
    return OpenAPIConfig(
        title="Protection Flows Engine",
        version="1",
        description="What to back up, when, where to and how: protection flows on one event log.",
        path="/schema",
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{ASSETS}/swagger-ui-bundle.js",
                css_url=f"{ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
                favicon="<link rel='icon' href='data:,'>",
            ),
            JsonRenderPlugin(path="/openapi.json"),
        ],
    )


def name_engines(document: OpenAPI) -> None:
    """Name the engines that there are in the response too, whose shape is that of the log: any name, for ever."""
    schemas = document.components.schemas if document.components else None
    repository = (schemas or {})["Repository"]
    assert repository.properties is not None
    engine = repository.properties["type"]
    assert isinstance(engine, Schema)
    engine.pattern, engine.enum = None, list(ENGINES)


def correct(part: Any) -> None:
    """Say `anyOf` where a value may match more than one type: 1 is an integer and a number, which `oneOf` forbids."""
    if isinstance(part, Schema) and part.one_of:
        part.any_of, part.one_of = part.one_of, None
    if isinstance(part, dict):
        for inner in part.values():
            correct(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            correct(inner)
    elif is_dataclass(part):
        for field in fields(part):
            correct(getattr(part, field.name))
