"""Hostile requests: deep, long, not UTF-8, of extreme times and numbers, and not quite HTTP. Seeded, over raw sockets.

They are made from the served OpenAPI: a request as it should be, of which one or two parts are something else.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import msgspec

from api import headers
from schemas.base import Value
from tests.made import scheduled
from tests.running import Client

PATIENCE = 60.0  # seconds for one response: more than the server has for a body that does not come
AT_ONCE = 8

LONG = "x" * 5_000
TEXTS: list[bytes] = [
    *(b"", b" ", b"\x00", b"a\x00b", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", "\u202e😀".encode(), LONG.encode()),
    *(b"a/b", b"..", b"../../etc/passwd", b"%", b"%00", b"'", b'"', b"\\", b"*", b">", b"{}", b"a.b", b"\r\nX: y"),
]
NUMBERS = ["0", "-1", "1.5", "1e400", "NaN", "2147483648", str(2**53 + 1), str(2**63), str(2**64), "9" * 5_000, "٣", ""]
TIMES = [
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"),
    *("9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-06-30T23:59:60Z"),
    *("1900-01-01T00:00:00+23:59", "2026-01-01T00:00:00-99:99", "2026-01-01", "now", "1582-10-10T00:00:00Z"),
]
BODIES: list[bytes] = [
    *(b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"NaN", b"\x00"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, b'{"name": "\xff"}', b'{"name": "\\ud800"}'),
    *(b'{"name": ' + b"9" * 5_000 + b"}", b'{"' + b"k" * 100_000 + b'": 1}', b'{"a": 1, "a": 2}'),
    *(b"{" + b",".join(b'"%d": 1' % n for n in range(20_000)) + b"}", b'"' + b"x" * 3_000_000 + b'"'),
]
HEADERS: list[tuple[str, list[bytes]]] = [
    ("If-Match", [b"9" * 5_000, b'"x"', b"W/", b"", b"-1", b"\xff", b'"1", "2"', "٣".encode()]),
    ("Last-Event-ID", [b"9" * 20, b"9" * 5_000, b"-1", b"", b"\xff", "٣".encode(), b"1.5"]),
    ("Idempotency-Key", [b"", b"\xff" * 300, b"k" * 5_000, b"\x7f"]),
    ("Content-Type", [b"", b"text/plain; charset=nonsense", b"application/x-www-form-urlencoded", b"/", b"\xff", b";"]),
    (
        "Content-Type",
        [b"multipart/form-data", b"multipart/form-data; boundary=" + b"b" * 300, b"application/json;a=\xff"],
    ),
    ("Content-Encoding", [b"gzip", b"\xff"]),
    ("Accept", [b"", b"text/html;q=x", b";;;", b"*/*;q=-1", b"\xff", b"a/b," * 1_000]),
    ("Accept-Encoding", [b"br;q=nan", b"\xff"]),
    ("Authorization", [b"", b"Bearer", b"Bearer \xff", b"Basic \xff", b"Bearer " + b"x" * 9_000]),
    ("Content-Length", [b"-1", b"9" * 30, b"x", b"1, 2", b"5000000"]),
    ("Transfer-Encoding", [b"chunked", b"gzip, chunked", b"x"]),
    ("Host", [b"", b"\xff", b"a b", b"x:99999999", b"[::1"]),
    ("X-Forwarded-For", [b"", b"\xff", b"[::1", b"x" * 3_000, b"1.2.3.4, " * 300, b"1.2.3.4:x"]),
    ("X-Forwarded-Proto", [b"\xff", b"ws", b"x" * 300]),
    ("Cookie", [b"\xff", b"=", b";" * 3_000, b'a="\\999"', b"a=%ff"]),
    ("Range", [b"bytes=9-1", b"bytes=" + b"0-1," * 1_000, b"\xff"]),
    ("If-None-Match", [b"\xff", b"*", b'"' + b"x" * 3_000]),
    ("If-Modified-Since", [b"x", b"\xff", b"Sat, 01 Jan 0001 00:00:00 GMT", b"9" * 5_000]),
    ("Origin", [b"null", b"http://\xff", b"x" * 3_000]),
    ("Upgrade", [b"websocket", b"h2c", b"\xff"]),
    ("Expect", [b"100-continue", b"x"]),
    ("X", [b"x" * 20_000, b"a\x00b", b"a\rb", b"\x80"]),
]
METHODS = ["HEAD", "OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 300]
TARGETS: list[bytes] = [
    *(
        b"*",
        b"//",
        b"http://x/api/v1/policies",
        b"x:443",
        b"policies",
        b"/%00",
        b"/%ff",
        b"/api/v1",
        b"/api/v1//policies",
    ),
    *(b"/schema/assets/%00", b"/schema/assets/%2e%2e/%2e%2e/etc/passwd", b"/schema/assets/" + b"x" * 5_000),
    *(
        b"/schema/assets/%ff",
        b"/schema/assets",
        b"/schema/assets/",
        b"/schema/%00",
        b"/schema/x",
        b"/schema/openapi.json",
    ),
    *(b"/schema", b"/", b"/?%00", b"/health/live", b"/health/ready?x=%00", b"/metrics", b"/metrics?%ff=%ff"),
    *(b"/api/v1/policies/a%2Fb", b"/api/v1/policies/%2e%2e", b"/api/v1/" + b"a/" * 2_000, b"/\xff", b"/ x", b"?", b""),
]

QUERIES = [b"%ff=1", b"x=%00", b"&&&", b"=", b"a" * 20_000, b"limit", b"%", b"a=1&" * 2_000]


class Reply(Value, frozen=True, kw_only=True):
    """What the server sent: 0 when it only closed the connection."""

    status: int
    headers: dict[str, str]
    body: bytes


class Hostile:
    """Makes requests. The same contract, token and seed make the same ones."""

    def __init__(self, contract: dict[str, Any], token: str, ids: dict[str, str], seed: int) -> None:
        """`ids`: by the beginning of a path, the id of something that is there."""
        self._ids = ids
        self._schemas = contract["components"]["schemas"]
        self._operations = [
            (method.upper(), path, operation)
            for path, operations in contract["paths"].items()
            for method, operation in operations.items()
        ]
        self._token = token
        self._random = random.Random(seed)

    def requests(self, number: int) -> Iterator[bytes]:
        """Yield requests as they go over the wire. Each operation has its turn."""
        for count in range(number):
            yield self._request(*self._operations[count % len(self._operations)])

    def _request(self, method: str, path: str, operation: dict[str, Any]) -> bytes:
        pick = self._random
        spoilt = set(pick.sample(("path", "query", "body", "header", "method", "target"), k=pick.choice((1, 1, 1, 2))))
        headers = {"Host": b"x", "Authorization": f"Bearer {self._token}".encode(), "Connection": b"close"}
        ids = {} if method == "DELETE" else self._ids
        there = next((id_ for beginning, id_ in ids.items() if path.startswith(beginning)), "nothing")
        target = self._target(path, operation, there, spoilt)
        body = self._body(operation, spoilt=bool(spoilt & {"body", "query"}))
        if body is not None:
            headers |= {"Content-Type": b"application/json", "Content-Length": str(len(body)).encode()}
        if "header" in spoilt:
            for name, values in pick.sample(HEADERS, k=2):
                headers[name] = pick.choice(values)
        if "method" in spoilt:
            method = pick.choice(METHODS)
        if "target" in spoilt:
            target = pick.choice(TARGETS)
        lines = [method.encode() + b" " + target + b" HTTP/1.1"]
        lines += [name.encode() + b": " + value for name, value in headers.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")

    def _target(self, path: str, operation: dict[str, Any], there: str, spoilt: set[str]) -> bytes:
        pick = self._random
        query: list[bytes] = []
        for parameter in operation.get("parameters", []):
            name, schema = parameter["name"], parameter["schema"]
            if parameter["in"] == "path":
                bad = "path" in spoilt and pick.random() < 0.7
                value = quote_from_bytes(pick.choice(TEXTS), safe="") if bad else there
                path = path.replace(f"{{{name}}}", value)
            elif parameter["in"] == "query" and "query" in spoilt and pick.random() < 0.4:
                value = quote_from_bytes(self._bad_text(schema))
                query += [f"{name}={value}".encode()] * pick.choice((1, 1, 1, 2))
        if "query" in spoilt and pick.random() < 0.1:
            query.append(
                pick.choice([b"%ff=1", b"x=%00", b"&&&", b"=", b"a" * 20_000, b"limit", b"%", b"a=1&" * 2_000])
            )
        return path.encode() + (b"?" + b"&".join(query) if query else b"")

    def _bad_text(self, schema: Any) -> bytes:
        pick = self._random
        kind = pick.choice(("text", "number", "time", "any"))
        if "dddd" in json.dumps(schema) or "\\\\d{4}" in json.dumps(schema):
            kind = pick.choice((kind, "time"))
        match kind:
            case "number":
                return pick.choice(NUMBERS).encode()
            case "time":
                return pick.choice(TIMES).encode()
            case _:
                return pick.choice(TEXTS)

    def _body(self, operation: dict[str, Any], *, spoilt: bool) -> bytes | None:
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return self._random.choice(BODIES) if spoilt and self._random.random() < 0.1 else None
        schema = next(iter(content.values()))["schema"]
        if spoilt and self._random.random() < 0.3:
            return self._random.choice(BODIES)
        value = self._value(schema)
        text = json.dumps(self._spoil(value) if spoilt else value)
        return text.replace('"@9"', "9" * 5_000).replace('"@e"', "1e400").encode()

    def _value(self, schema: dict[str, Any]) -> Any:
        """Return a JSON value as a schema wants it, more or less."""
        pick = self._random
        if reference := schema.get("$ref"):
            return self._value(self._schemas[reference.rpartition("/")[2]])
        for union in ("oneOf", "anyOf"):
            if union in schema:
                return self._value(pick.choice(schema[union]))
        if "enum" in schema:
            return pick.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema),
            "array": lambda: [self._value(schema["items"])] if "items" in schema else [],
            "integer": lambda: pick.randint(max(1, schema.get("minimum", 1)), 5),
            "number": pick.random,
            "boolean": lambda: pick.random() < 0.5,
            "null": lambda: None,
            "string": lambda: self._string(schema),
        }
        type_ = schema.get("type", "object")
        return makers[pick.choice(type_) if isinstance(type_, list) else type_]()

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        required = schema.get("required", [])
        fields = schema.get("properties", {})
        return {
            name: self._value(inner)
            for name, inner in fields.items()
            if name in required or self._random.random() < 0.5
        }

    def _string(self, schema: dict[str, Any]) -> str:
        match schema.get("format"):
            case "date-time":
                return "2026-01-01T00:00:00Z" if self._random.random() < 0.5 else "2026-01-01T00:00:00"
            case "date":
                return "2026-01-01"
            case "time":
                return "10:00:00"
            case _:
                examples = schema.get("examples") or [f"n{self._random.randrange(10**6)}"]
                return str(self._random.choice(examples))

    def _spoil(self, value: Any) -> Any:
        """Return a value with one of its leaves replaced by something extreme."""
        pick = self._random
        if isinstance(value, dict) and value and pick.random() < 0.9:
            name = pick.choice(list(value))
            return {**value, name: self._spoil(value[name])}
        if isinstance(value, list) and value and pick.random() < 0.8:
            return [self._spoil(value[0]), *value[1:]]
        if isinstance(value, str) and value[:4] == "2026" and pick.random() < 0.8:
            at = pick.choice(TIMES)
            return at.partition("T")[0] if "T" not in value else at
        texts: list[Any] = [one.decode("utf-8", "replace") for one in TEXTS]
        numbers: list[Any] = [2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, "@9", "@e", 1e308, -0.0]
        other: list[Any] = [None, True, [], {}, [[]], {"\x00": "\x00"}, {"a": 2**63}, {"a": "\x00"}, ["\x00"], LONG * 3]
        return pick.choice(pick.choice((texts, numbers, other, TIMES)))


async def send(port: int, request: bytes) -> Reply:
    """Send a request and return the reply; of an endless one its head. Raises `TimeoutError`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(request)
            with suppress(ConnectionError):  # it may be refused before all of it was sent
                await writer.drain()
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                while head.startswith(b"HTTP/1.1 100"):
                    head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return Reply(status=0, headers={}, body=b"")
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = b""
            if not headers.get("content-type", "").startswith("text/event-stream"):
                with suppress(ConnectionError):
                    body = await reader.read(-1)
            return Reply(status=int(first.split()[1]), headers=headers, body=body)
    finally:
        writer.close()


def wrong(reply: Reply) -> str | None:
    """Return what is wrong with a reply to a hostile request, None when nothing is."""
    if reply.status >= 500:
        return f"it is a {reply.status}"
    if reply.status and (missing := [name for name in headers.HEADERS if name.lower() not in reply.headers]):
        return f"it has no {', '.join(missing)}"
    if reply.status >= 400:
        if reply.headers.get("content-type") != "application/problem+json":
            return f"it is {reply.headers.get('content-type')}, no problem"
        if reply.body:
            with suppress(msgspec.DecodeError):
                if msgspec.json.decode(reply.body)["status"] == reply.status:
                    return None
            return "its body is not the problem of its status"
    return None


def attack(api: Client, *, number: int, seed: int) -> list[str]:
    """Send so many requests to an engine, and return those with a wrong reply, each with what is wrong."""
    contract = api.http.get(f"{api.url}/schema/openapi.json").json()
    requests = Hostile(contract, api.token, _made(api, seed), seed).requests(number)
    port = httpx.URL(api.url).port
    assert port is not None
    return asyncio.run(_send_all(port, requests))


def _made(api: Client, seed: int) -> dict[str, str]:
    """Make something of each kind, and return its id by the beginning of its paths."""
    flow = scheduled(api, f"there-{seed}", "*/5 * * * *")
    execution = api.call("POST", f"/protection-flows/{flow['id']}/execute", status=202)
    ids = {
        "protection-flows": flow["id"],
        "schedules": flow["schedule_id"],
        "machine-groups": flow["target_id"],
        "repositories": flow["repository_id"],
        "vm-contexts": api.get(f"/machine-groups/{flow['target_id']}/vms")["vms"][0]["context_id"],
        "policies": api.create("/policies", name=f"there-{seed}")["id"],
        "executions": execution["id"],
        "backups": api.get(f"/executions/{execution['id']}/jobs")["jobs"][0]["id"],
        "commands": api.get("/audit")["commands"][0]["id"],
    }
    return {f"/api/v1/{kind}": id_ for kind, id_ in ids.items()}


async def _send_all(port: int, requests: Iterator[bytes]) -> list[str]:
    found: list[str] = []

    async def one_after_the_other() -> None:
        for request in requests:
            try:
                fault = wrong(reply := await send(port, request))
            except TimeoutError:
                fault, reply = f"there was none within {PATIENCE:.0f} s", None
            if fault:
                said = reply.body[:300] if reply else b""
                found.append(f"{fault}: {request[:600]!r} … ({len(request)} bytes)\n    {said!r}")

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return found
