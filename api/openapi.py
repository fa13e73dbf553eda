"""OpenAPI: its settings, its offline page, and what the generator gets wrong.

The page's one script of our own is a file too: a policy that allows none within the page holds (api/headers.py).
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, cast

from litestar import MediaType, Response, Router, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)

from api.cookies import CSRF_HEADER, SECURE_PREFIX, SESSION
from api.decoding import known_parameters
from api.headers import OWN_SCRIPTS
from api.problems import ApiError, response_of
from schemas.base import PROSE
from services.worker.engines.registration import ENGINES

DOCUMENTATION = "/schema"
ASSETS = f"{DOCUMENTATION}/assets"
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Protection Flows Engine</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{ASSETS}/swagger-ui.css">
</head>
<body>
<div id="documentation"></div>
<script src="{ASSETS}/swagger-ui-bundle.js"></script>
<script src="{DOCUMENTATION}/page.js"></script>
</body>
</html>
"""
SCRIPT = f"""SwaggerUIBundle({{
  url: "{DOCUMENTATION}/openapi.json",
  dom_id: "#documentation",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
}});
"""


class Page(OpenAPIRenderPlugin):
    """The page on which every route can be read, and tried out."""

    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002  the framework's names
        return PAGE.encode()


@get(f"{DOCUMENTATION}/page.js", media_type="text/javascript", include_in_schema=False, sync_to_thread=False)
def script() -> str:
    """Return what starts the page."""
    return SCRIPT


def config() -> OpenAPIConfig:
    """Return OpenAPI's settings; its page loads nothing from elsewhere."""
    return OpenAPIConfig(
        title="Protection Flows Engine",
        version="1",
        description="What to back up, when, where to and how: protection flows on one event log.",
        openapi_router=Router(
            DOCUMENTATION,
            route_handlers=[],
            include_in_schema=False,
            after_request=_finished,
            guards=[known_parameters],
            opt={"public": True},
        ),
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer"),
                "session": SecurityScheme(
                    type="apiKey",
                    security_scheme_in="cookie",
                    name=SESSION,
                    description=f"Of `POST /api/v1/session`. Called `{SECURE_PREFIX}{SESSION}` by TLS. What changes "
                    f"something needs the header `{CSRF_HEADER}` beside it.",
                ),
                "ticket": SecurityScheme(type="apiKey", security_scheme_in="query", name="ticket"),
            }
        ),
        render_plugins=[
            Page(path="/"),
            JsonRenderPlugin(path="/openapi.json"),
        ],
    )


async def _finished(response: Response[Any]) -> Response[Any]:
    """Let the page run its scripts, and say in our words what the framework says in a page of its own."""
    if response.status_code == 404:
        return response_of(ApiError(404, f"there is nothing there; the documentation is at {DOCUMENTATION}"))
    if response.media_type == MediaType.HTML:
        response.headers["Content-Security-Policy"] = OWN_SCRIPTS
    return response


def name_engines(document: OpenAPI) -> None:
    """Name the engines that there are in the response too, whose shape is that of the log: any name, for ever."""
    schemas = document.components.schemas if document.components else None
    repository = (schemas or {})["RepositoryResponse"]
    assert repository.properties is not None
    engine = repository.properties["type"]
    assert isinstance(engine, Schema)
    engine.pattern, engine.enum = None, list(ENGINES)


def _is_null(content: OpenAPIMediaType) -> bool:
    return isinstance(content.schema, Schema) and content.schema.type == OpenAPIType.NULL


def correct(part: Any) -> None:
    """Say `anyOf` where a value may match more than one type: 1 is an integer and a number, which `oneOf` forbids.

    And say nothing of the body of a response that has none, not that it is null.
    """
    if isinstance(part, OpenAPIResponse) and part.content and all(map(_is_null, part.content.values())):
        part.content = None
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


def say_what_is_refused(document: OpenAPI) -> None:
    """Say of all that clients send what is refused everywhere: fields that nobody knows, and a NUL in a text."""
    schemas = document.components.schemas if document.components else {}
    for path in (document.paths or {}).values():
        for field in fields(path):
            operation = getattr(path, field.name)
            if isinstance(operation, Operation):
                parameters = [one.schema for one in operation.parameters or [] if isinstance(one, Parameter)]
                body = operation.request_body
                contents = body.content.values() if isinstance(body, RequestBody) else ()
                _narrow([*parameters, *(content.schema for content in contents)], schemas or {}, set())


def _narrow(part: Any, schemas: dict[str, Schema], seen: set[str]) -> None:
    """Narrow a schema and all that it is made of; `seen` are the names of those that were."""
    if isinstance(part, Reference):
        name = part.ref.rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            _narrow(schemas[name], schemas, seen)
    elif isinstance(part, Schema):
        if part.type == OpenAPIType.STRING and not (part.pattern or part.enum or part.format or part.const):
            part.pattern = PROSE
        if part.type == OpenAPIType.OBJECT and part.additional_properties is None:
            part.additional_properties = False
        inner = [part.any_of, part.one_of, part.all_of, part.items, part.additional_properties]
        _narrow([*inner, *(part.properties or {}).values()], schemas, seen)
    elif isinstance(part, list | tuple):
        for each in cast("list[Any] | tuple[Any, ...]", part):
            _narrow(each, schemas, seen)
