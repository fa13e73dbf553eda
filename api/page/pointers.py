"""What somebody finds who knows only the address: where to go from here, and the page's place while it is not built."""

from __future__ import annotations

POINTERS = {
    "documentation": "/schema",
    "openapi": "/schema/openapi.json",
    "events": "/schema/asyncapi.json",
    "api": "/api/v1",
    "health": "/health/ready",
    "metrics": "/metrics",
}
HINT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Protection Flows Engine</title>
</head>
<body>
<h1>Protection Flows Engine</h1>
<p>The engine is running. Its page is not built: run <code>make page</code> where its source is, and start the engine
anew. Until then it is used through its HTTP API and the command <code>flows</code>.</p>
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
