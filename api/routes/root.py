"""The root: where somebody ends up who knows only the address. It says where to go from here."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, get

POINTERS = {
    "documentation": "/schema",
    "openapi": "/schema/openapi.json",
    "events": "/schema/asyncapi.json",
    "api": "/api/v1",
    "health": "/health/ready",
    "metrics": "/metrics",
}
# the page loads nothing, neither from here nor from elsewhere
SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Protection Flows Engine</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; padding: 0 1rem }</style>
</head>
<body>
<h1>Protection Flows Engine</h1>
<p>The engine is running. It is used through its HTTP API and the command <code>flows</code>.</p>
<ul>
<li><a href="/schema">The API's documentation</a>: every route, and a form to try it out.</li>
<li><a href="/health/ready">Health</a>: whether everything that is needed is there.</li>
<li><a href="/metrics">Metrics</a> for Prometheus.</li>
</ul>
<p>Every route under <code>/api/v1</code> needs a token, as
<code>Authorization: Bearer &lt;token&gt;</code>. The administrator's is in the file that the engine named when it
started: <code>admin-token</code> in its data folder.</p>
</body>
</html>
"""


@get("/", include_in_schema=False, sync_to_thread=False)
def root(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show a browser a page, and give anybody else the same addresses as JSON."""
    if request.accept.best_match(["application/json", "text/html"]) == "text/html":
        headers = {"Vary": "Accept", "Content-Security-Policy": SECURITY_POLICY}
        return Response(PAGE, media_type=MediaType.HTML, headers=headers)
    return Response(POINTERS, media_type=MediaType.JSON, headers={"Vary": "Accept"})
