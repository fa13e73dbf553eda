"""No request costs more than it may, on any route, however much there is. Looks, rows, statements, bytes are counted.

Every route is in `REQUESTS`, with the most that it can be asked for, or in `CHEAP`, with the reason. A new one fails
until somebody has thought about it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from sqlalchemy import Row, Select

from api.app import MAX_BODY, create_app
from api.auth import Tokens
from api.page.files import ASSETS
from api.page.routes import SECTIONS
from api.readmodel.calendar import LOOKS
from api.readmodel.reader import Reader, ReadModel
from api.resources import Resources
from api.routes import starting
from api.tail import CommandOutcome
from services import database
from tests.api import hostile_tables
from tests.looks import Looks
from tests.support import T0

MOST_LOOKS = LOOKS + 1_000
MOST_ROWS = 25_000
MOST_STATEMENTS = 40
MOST_SHAPES = 100
MOST_BYTES = 16 * 1024 * 1024

BODY = {"flow_type": "backup", "target_type": "group", "target_id": "big", "repository_id": "repo-0"}
YEAR = {"from": "2026-11-01T12:00:00Z", "to": "2027-11-01T12:00:00Z"}
PAST = {"from": "2025-11-20T00:00:00Z", "to": "2026-11-20T00:00:00Z"}
ALL = {"limit": 500}
FAR = {"limit": 500, "offset": 2_147_483_647}
EXPRESSIONS = [f"*/{number} * * * *" for number in range(2, 22)]
EXCLUSIONS = [
    {"name": f"x{n}", "first_date": f"20{n:02}-01-01", "from_time": "01:00:00", "to_time": "23:00:00"}
    for n in range(100)
]
INCLUSIONS = [f"2{n // 10:03}-0{n % 9 + 1}-01T00:00:00" for n in range(1000)]
SCHEDULE = {"name": "s", "cron_expression": "* * * * *", "more_expressions": EXPRESSIONS, "exclusions": EXCLUSIONS}
SCHEDULE |= {"inclusions": INCLUSIONS}
VM = {"vm_name": "v", "disks": [{"disk_id": f"d{n}", "path": f"/{'x' * 4000}"} for n in range(256)]}
VM |= {"labels": {f"label-{n}": "x" * 64 for n in range(64)}, "tags": ["x" * 64] * 64}
MANY_MEMBERS = {"name": "g", "members": [{"context_id": f"vm-{n}"} for n in range(30_000)]}
LONG_IDS = [{"context_id": f"{n:064}", "enabled": True, "priority": -1000} for n in range(10_000)]
WRONG_MEMBERS = {"name": "g", "members": [{"context_id": "no id", "enabled": 1, "x": n} for n in range(10_000)]}
FLOWS = [f"f-{n}" for n in range(500)]

Asked = tuple[dict[str, Any], int]  # a request (path parameters, `params`, `json`), and the status of its response
REQUESTS: dict[str, list[Asked]] = {
    "GET /api/v1/protection-flows": [
        ({"params": ALL}, 200),  # the newest: five hundred schedules that never fire
        ({"params": {**ALL, "sort": "name", "q": "%_" * 100, "label": "a:b"}}, 200),
        ({"params": FAR}, 200),
    ],
    "GET /api/v1/protection-flows/{id}": [({"id": "n-1"}, 200), ({"id": "f-1"}, 200)],
    "GET /api/v1/protection-flows/{flow_id}/executions": [({"flow_id": "f-1", "params": ALL}, 200)],
    "GET /api/v1/protection-flows/{flow_id}/status": [({"flow_id": "f-1"}, 200), ({"flow_id": "n-1"}, 200)],
    "GET /api/v1/protection-flows/{flow_id}/occurrences": [
        ({"flow_id": "f-2", "params": YEAR}, 200),
        ({"flow_id": "f-3", "params": YEAR}, 200),
        ({"flow_id": "n-1", "params": YEAR}, 200),
    ],
    "GET /api/v1/protection-flows/{flow_id}/explain": [
        ({"flow_id": "f-2"}, 200),
        ({"flow_id": "f-1", "params": {"at": "1970-01-01T00:00:00Z"}}, 200),
        ({"flow_id": "n-1", "params": {"at": "2199-12-31T00:00:00Z"}}, 200),
        ({"flow_id": "f-2", "params": {"at": "0001-01-01T00:00:00Z"}}, 422),
    ],
    "GET /api/v1/protection-flows/summary": [({"params": {"timezone": "Antarctica/Troll"}}, 200)],
    "GET /api/v1/protection-flows/statistics": [({"params": YEAR}, 200)],
    "POST /api/v1/protection-flows": [({"json": {**BODY, "name": "x", "labels": VM["labels"]}}, 404)],
    "PUT /api/v1/protection-flows/{id}": [({"id": "n-1", "json": {"labels": VM["labels"]}}, 200)],
    "DELETE /api/v1/protection-flows/{id}": [({"id": "f-1"}, 409), ({"id": "f-2"}, 204)],
    "PATCH /api/v1/protection-flows/{id}/enable": [({"id": "n-1"}, 200)],
    "PATCH /api/v1/protection-flows/{id}/disable": [({"id": "n-1"}, 200)],
    "POST /api/v1/protection-flows/{flow_id}/execute": [({"flow_id": "f-1"}, 202)],
    "POST /api/v1/protection-flows/{flow_id}/test": [({"flow_id": "f-1"}, 200), ({"flow_id": "f-0"}, 422)],
    "POST /api/v1/protection-flows/test": [({"json": {**BODY, "name": "x", "labels": VM["labels"]}}, 200)],
    "POST /api/v1/protection-flows/{flow_id}/backfill": [
        ({"flow_id": "f-2", "json": {**PAST, "dry_run": True}}, 422),
        ({"flow_id": "n-1", "json": {**PAST, "dry_run": True}}, 202),
        ({"flow_id": "f-2", "json": {"from": "2026-11-01T12:00:00Z", "to": "2026-11-10T12:00:00Z"}}, 422),
    ],
    "POST /api/v1/protection-flows/{flow_id}/backfill/{backfill_id}/cancel": [
        ({"flow_id": "f-1", "backfill_id": "b"}, 202)
    ],
    "POST /api/v1/protection-flows/bulk-enable": [({"json": {"flow_ids": FLOWS}}, 200)],
    "POST /api/v1/protection-flows/bulk-disable": [({"json": {"flow_ids": ["x"] * 100_000}}, 422)],
    "POST /api/v1/protection-flows/bulk-delete": [({"json": {"flow_ids": FLOWS}}, 200)],
    "POST /api/v1/protection-flows/{flow_id}/clone": [({"flow_id": "f-1", "json": {"name": "x"}}, 404)],
    "GET /api/v1/executions": [({"params": ALL}, 200), ({"params": FAR}, 200), ({"params": {**ALL, **YEAR}}, 200)],
    "GET /api/v1/executions/{execution_id}": [({"execution_id": "huge"}, 200)],
    "GET /api/v1/executions/{execution_id}/explain": [({"execution_id": "huge"}, 200)],
    "GET /api/v1/executions/{execution_id}/jobs": [({"execution_id": "huge", "params": ALL}, 200)],
    "GET /api/v1/executions/{execution_id}/events": [({"execution_id": "huge", "params": ALL}, 200)],
    "POST /api/v1/executions/{execution_id}/cancel": [({"execution_id": "huge", "json": {}}, 202)],
    "POST /api/v1/executions/{execution_id}/retry": [({"execution_id": "huge"}, 202)],
    "GET /api/v1/events/log": [
        ({"params": ALL}, 200),
        ({"params": {**ALL, "after": 199_999}}, 422),  # twenty megabytes
        ({"params": {**ALL, "pattern": "*.*.*", "vm": "%_" * 100, "flow": "x", "execution": "y"}}, 200),
        ({"params": FAR}, 200),
    ],
    "GET /api/v1/audit": [
        ({"params": {**ALL, "actor": "eve"}}, 200),
        ({"params": {**ALL, "actor": "mallory"}}, 422),  # twenty megabytes
        ({"params": FAR}, 200),
    ],
    "GET /api/v1/backups": [({"params": ALL}, 200), ({"params": FAR}, 200)],
    "GET /api/v1/backups/stats": [({}, 200)],
    "GET /api/v1/queue": [({}, 200)],
    "GET /api/v1/calendar": [({"params": YEAR}, 200), ({}, 200)],
    "GET /api/v1/vm-contexts": [({"params": ALL}, 200), ({"params": {**ALL, "q": "%" * 255}}, 200)],
    "GET /api/v1/vm-contexts/{id}": [({"id": "large-1"}, 200)],
    "GET /api/v1/vm-contexts/by-id/{context_id}": [({"context_id": "large-1"}, 200)],
    "GET /api/v1/vm-contexts/{context_id}/disks": [({"context_id": "large-1"}, 200)],
    "POST /api/v1/vm-contexts": [({"json": VM}, 404)],
    "PUT /api/v1/vm-contexts/{id}": [({"id": "large-1", "json": {"disks": VM["disks"]}}, 200)],
    "GET /api/v1/machine-groups": [({"params": ALL}, 200)],
    "GET /api/v1/machine-groups/{id}": [({"id": "old"}, 200)],
    "POST /api/v1/machine-groups": [
        ({"json": {"name": "g", "members": LONG_IDS}}, 404),
        ({"json": MANY_MEMBERS}, 422),
        ({"json": WRONG_MEMBERS}, 422),
    ],
    "GET /api/v1/machine-groups/{group_id}/vms": [({"group_id": "old", "params": ALL}, 200)],
    "POST /api/v1/machine-groups/{group_id}/vms": [({"group_id": "old", "json": {"context_id": "vm-1"}}, 201)],
    "GET /api/v1/vm-groups/{group_id}/members": [({"group_id": "old", "params": ALL}, 200)],
    "GET /api/v1/discovery/ungrouped-vms": [({"params": ALL}, 422), ({"params": {"limit": 5}}, 200)],
    "PATCH /api/v1/machine-groups/{group_id}/vms/{context_id}": [
        ({"group_id": "old", "context_id": "vm-1", "json": {"priority": 1}}, 200)
    ],
    "GET /api/v1/schedules": [({"params": {**ALL, "q": "large"}}, 422), ({"params": {**ALL, "q": "never"}}, 200)],
    "GET /api/v1/schedules/{id}": [({"id": "large-1"}, 200)],
    "POST /api/v1/schedules": [({"json": SCHEDULE}, 404)],
    "POST /api/v1/schedules/preview": [({"json": SCHEDULE, "params": {"count": 500}}, 200)],
    "PUT /api/v1/schedules/{id}": [({"id": "large-1", "json": {"inclusions": INCLUSIONS}}, 200)],
    "GET /api/v1/schedules/{schedule_id}/preview": [
        ({"schedule_id": id_, "params": {"count": 500}}, 200)
        for id_ in ("never-1", "leap", "many", "large-1", "minutes-1", "unreadable")
    ]
    + [({"schedule_id": "leap", "params": {"from": "9999-12-31T23:59:59Z"}}, 422)],
    "GET /api/v1/repositories": [({"params": ALL}, 422), ({"params": {"limit": 50}}, 200)],
    "POST /api/v1/repositories/refresh-storage": [({}, 200)],
    "GET /api/v1/policies": [({"params": ALL}, 200)],
    "GET /api/v1/coverage": [
        ({"params": {"limit": 1000}}, 422),  # a hundred million pairs of a VM and a flow
        ({"params": {"limit": 1000, "group_id": "old", "q": "vm-11999", "sort": "-last_good_at"}}, 200),
        ({"params": {"limit": 1000, "q": "vm-999"}}, 422),  # five hundred schedules that never fire
        ({"params": {"limit": 1000, "q": "large"}}, 200),
    ],
    "GET /api/v1/coverage/days": [
        ({"params": {"days": 400, "limit": 1000}}, 422),
        ({"params": {"days": 400, "limit": 1000, "q": "large", "by": "label-1", "timezone": "Antarctica/Troll"}}, 200),
    ],
    "GET /api/v1/overview": [({"params": {"timezone": "Antarctica/Troll"}}, 422)],
    "GET /api/v1/timeline": [({"params": {**YEAR, "limit": 200}}, 200), ({"params": {"limit": 200}}, 200)],
    "GET /api/v1/repositories/{repository_id}/storage/history": [
        ({"repository_id": "repo-0", "params": {"days": 400}}, 200)
    ],
}

ONE = "one row by its id, and nothing that depends on how many there are"
COMMAND = "one command, and one row read back"
FIXED = "the same for everybody, made once"
PAGE = {
    f"{method} {path}"
    for method in ("GET", "HEAD")
    for path in ("/", f"/{ASSETS}/{{name}}", *(f"/{one}{rest}" for one in SECTIONS for rest in ("", "/{rest}")))
}
CHEAP: dict[str, str] = {
    **dict.fromkeys(PAGE, FIXED),
    "GET /health/live": FIXED,
    "GET /health/ready": "a position, and what a few services publish of themselves",
    "GET /schema": FIXED,
    "GET /schema/{path}": FIXED,
    "GET /schema/openapi.json": FIXED,
    "GET /schema/asyncapi.json": FIXED,
    "GET /schema/page.js": FIXED,
    "GET /schema/assets/{file_path}": FIXED,
    "HEAD /schema/assets/{file_path}": FIXED,
    "GET /metrics": "counted once for all who ask, and again only after a while that grows with the tables",
    "GET /api/v1/events": "a live stream: what it holds is bounded where it is tested, in test_live",
    "POST /api/v1/live/ticket": "a signature",
    "GET /api/v1/tokens": "a page of rows, of which there are as many as people have made by hand",
    "GET /api/v1/tokens/{token_id}": ONE,
    "POST /api/v1/tokens": COMMAND,
    "DELETE /api/v1/tokens/{token_id}": COMMAND,
    **{f"{method} /api/v1/session": "a signature" for method in ("POST", "GET", "DELETE")},
    "GET /api/v1/session/oidc": "asks the identity provider, within bounds: tests/api/oidc",
    "GET /api/v1/session/oidc/callback": "asks the identity provider, within bounds: tests/api/oidc",
    "GET /api/v1/commands/{command_id}": ONE,
    "GET /api/v1/backups/{backup_id}": ONE,
    "POST /api/v1/backups": COMMAND,
    "GET /api/v1/freeze": ONE,
    "PUT /api/v1/freeze": COMMAND,
    "DELETE /api/v1/freeze": COMMAND,
    "GET /api/v1/settings": ONE,
    "PUT /api/v1/settings": COMMAND,
    "DELETE /api/v1/machine-groups/{group_id}/vms/{context_id}": COMMAND,
    "GET /api/v1/repositories/{id}": ONE,
    "GET /api/v1/repositories/{repository_id}/storage": "one row, and a sum that the database makes",
    "POST /api/v1/repositories": COMMAND,
    "POST /api/v1/repositories/test": "a look at one folder",
    "PUT /api/v1/repositories/{id}": COMMAND,
    "GET /api/v1/policies/{id}": ONE,
    "POST /api/v1/policies": COMMAND,
    "GET /api/v1/workers": "what as many workers as people have started publish of themselves, and those they enrolled",
    "POST /api/v1/workers": COMMAND,
    "POST /api/v1/workers/enrol": COMMAND,
    "DELETE /api/v1/workers/{worker_id}": COMMAND,
    "GET /api/v1/notifications": "a page of rows, of which there are as many as people have made by hand",
    "GET /api/v1/notifications/{id}": ONE,
    "GET /api/v1/notifications/deliveries": "a page of all messages, which are kept like all activity",
    "GET /api/v1/notifications/{id}/deliveries": "a page of one notification's messages, by their index",
    "POST /api/v1/notifications/{id}/test": "asks a notifier, within bounds",
    "POST /api/v1/notifications": COMMAND,
    "PUT /api/v1/notifications/{id}": COMMAND,
    "PUT /api/v1/policies/{id}": COMMAND,
    "PUT /api/v1/machine-groups/{id}": COMMAND,
    **{
        f"{method} /api/v1/{kind}/{{id}}{verb}": COMMAND
        for kind in ("vm-contexts", "machine-groups", "schedules", "repositories", "policies", "notifications")
        for method, verb in (("PATCH", "/enable"), ("PATCH", "/disable"), ("DELETE", ""))
    },
}


class Commands:
    """Accepts every command at once: what a command costs the other services is theirs."""

    closed = False

    async def submit(self, command: Any, **_: Any) -> CommandOutcome:
        del command
        return CommandOutcome(sequence=0, accepted=True)

    async def find(self, command_id: str) -> None:
        del command_id

    async def earlier(self, command_id: str) -> None:
        del command_id


def made() -> Litestar:
    app = create_app(nats_url="nats://nowhere", database_url="sqlite+aiosqlite://", tokens=Tokens("t"))
    app._lifespan_managers.clear()
    app.state.tokens = Tokens("t")
    return app


APP = made()


class Deserted:
    """A log beside which nobody listens, and nobody has published a status."""

    async def request_many(self, *_: Any, **__: Any) -> list[bytes]:
        return []

    async def statuses(self, prefix: str) -> dict[str, Any]:
        del prefix
        return {}

    async def time(self) -> datetime:
        return T0


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    reader = ReadModel(database.reader(url))
    nothing: Any = SimpleNamespace()
    APP.state.resources = Resources(Deserted(), Commands(), reader, nothing)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t", headers={"Authorization": "Bearer t"}, timeout=60
        ) as found:
            yield found
    finally:
        await reader.close()


class Reads:
    """Rows and statements that the read model has read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = self.statements = 0
        rows = Reader.rows

        async def counted(reader: Reader, statement: Select[Any]) -> Sequence[Row[Any]]:
            found = await rows(reader, statement)
            self.rows += len(found)
            self.statements += 1
            return found

        monkeypatch.setattr(Reader, "rows", counted)


class Shapes:
    """How often the fields of a shape are made out from its annotations, which takes as long as ten thousand values."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        fields = msgspec.structs.fields

        def counted(shape: Any) -> Any:
            self.times += 1
            return fields(shape)

        monkeypatch.setattr(msgspec.structs, "fields", counted)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hostile_tables.build(tmp_path_factory.mktemp("hostile") / "flows.db")


def known_routes() -> set[str]:
    return {
        f"{method} {route.path_format}"
        for route in APP.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}
    }


def test_the_largest_definitions_are_no_larger_than_a_request() -> None:
    for largest in ({"name": "g", "members": LONG_IDS}, VM, SCHEDULE):
        assert len(json.dumps(largest)) < MAX_BODY


def test_every_route_has_been_thought_about() -> None:
    assert known_routes() == {*REQUESTS, *CHEAP}
    assert not REQUESTS.keys() & CHEAP.keys()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tables of an engine that nothing has ever happened in."""
    url = database.sqlite_url(tmp_path_factory.mktemp("empty") / "flows.db")
    database.upgrade(url)
    return url


@pytest.mark.parametrize("route", [one for one in REQUESTS if one.startswith("GET ") and "{" not in one])
async def test_before_anything_has_happened_it_is_answered(empty: str, route: str) -> None:
    async with client(empty) as api:
        response = await api.get(route.split()[1])
    assert response.status_code == 200, response.text[:500]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "asked"), [(route, number) for route, requests in REQUESTS.items() for number in range(len(requests))]
)
async def test_no_request_costs_more_than_it_may(
    url: str, monkeypatch: pytest.MonkeyPatch, looks: Looks, route: str, asked: int
) -> None:
    request, status = REQUESTS[route][asked]
    method, path = route.split()
    parameters = {name: request[name] for name in request if name not in {"params", "json"}}
    monkeypatch.setattr(starting, "manual_execution_id", lambda _: "huge")  # the one that a command has started
    reads, shapes = Reads(monkeypatch), Shapes(monkeypatch)
    async with client(url) as api:
        options = {name: request[name] for name in ("params", "json") if name in request}
        response = await api.request(method, path.format(**parameters), **options)
    assert response.status_code == status, response.text[:500]
    assert looks.days <= MOST_LOOKS
    assert looks.instants <= MOST_ROWS
    assert reads.rows <= MOST_ROWS
    assert reads.statements <= MOST_STATEMENTS
    assert shapes.times <= MOST_SHAPES
    assert len(response.content) <= MOST_BYTES
    if status == 422:
        assert "at most" in response.text or response.json()["errors"]
