"""What one with a scope gets to see of another world: nothing, by any route, id, list, count or stream."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Table, true

from api import permission, visibility
from api.page import routes as page
from api.readmodel import flows
from api.readmodel.overdue import FlowLateness
from api.readmodel.reader import ReadModel
from api.routes import live
from api.routes.metrics import Counted
from api.visibility import OPEN, RULES
from bus.envelope import Stored
from schemas import commands as c
from schemas import tables as t
from schemas.base import Value
from services import database
from services.recorder.store import Tables
from tests.api import worlds
from tests.api.bare import APP
from tests.api.scoped import EVERYBODY, FILTERS, NEUTRAL, Asked, House, Route, routes
from tests.api.worlds import LATER
from tests.support import due, flow, group, history, repository, vm

ROUTES = sorted((route for route, guarded in routes(APP) if guarded), key=lambda route: (route.path, route.method))
READS = sorted((route for route in ROUTES if route.method == "GET"), key=lambda route: len(route.kinds))  # lists first
# what everybody may ask for, without a token: nothing of these is about anybody's world
PUBLIC = {"/", "/health/live", "/health/ready", "/metrics", "/schema", "/schema/{path:str}", "/schema/openapi.json"}
PUBLIC |= {"/schema/asyncapi.json", "/schema/page.js", "/schema/assets/{file_path:path}"}
PUBLIC |= {"/api/v1/session", "/api/v1/session/oidc", "/api/v1/session/oidc/callback"}  # who signs in is nobody yet
PUBLIC |= {f"/{section}{rest}" for section in page.SECTIONS for rest in ("", "/{rest:path}")}
PUBLIC |= {f"/{page.ASSETS}/{{name:str}}"}  # the page, for everybody
PUBLIC |= {"/api/v1/workers/enrol"}  # nor is a worker that has a one-time token


class Write(Value, frozen=True, kw_only=True):
    """How a route is asked to do something. `own`: the status, for what one may see; 202: it waits for its outcome."""

    own: int = 202
    body: Any = None


FLOW = {"name": "alpha-new", "flow_type": "backup", "target_type": "vm", "target_id": "alpha-vm"}
FLOW |= {"repository_id": "common-repository", "schedule_id": "alpha-schedule", "policy_id": "alpha-policy"}
FILLED = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T06:00:00Z"}
BULK = {"flow_ids": ["alpha-idle"]}
WRITES = {
    "create_flow": Write(body=FLOW),
    "update_flow": Write(body={"priority": 3, "target_id": "alpha-group", "target_type": "group"}),
    "execute_flow": Write(),
    "dry_run": Write(own=200),
    "dry_run_unsaved": Write(own=200, body=FLOW),
    "preview_unsaved": Write(own=200, body={"name": "alpha-new", "cron_expression": "0 2 * * *"}),
    "backfill": Write(body=FILLED),
    "cancel_backfill": Write(),
    "bulk_enable": Write(own=200, body=BULK),
    "bulk_disable": Write(own=200, body=BULK),
    "bulk_delete": Write(own=200, body=BULK),
    "clone": Write(body={"name": "alpha-copy"}),
    "cancel": Write(),
    "retry": Write(),
    "live_ticket": Write(own=201),
    "sign_out": Write(own=204),
    "back_up": Write(body={"context_id": "alpha-vm", "repository_id": "alpha-repository"}),
    **{f"{verb}_flow": Write() for verb in ("delete", "enable", "disable")},
    # one's own definitions may be changed; what is made would be for all, and members widen what one may see
    **{f"create_{kind}": Write(own=403) for kind in ("vm", "group", "schedule", "repository", "policy")},
    **{
        f"{verb}_{kind}": Write(body={"description": "x"} if verb == "update" else None)
        for verb in ("update", "delete", "enable", "disable")
        for kind in ("vm", "group", "schedule", "repository", "policy")
    },
    "add_member": Write(own=403, body={"context_id": "alpha-vm"}),
    "update_member": Write(body={"priority": 1}),
    "remove_member": Write(),
    # the engine as a whole, and its machines
    "set_freeze": Write(own=403),
    "lift_freeze": Write(own=403),
    "create_notification": Write(own=403),
    **{
        f"{verb}_notification": Write(own=404, body={"name": "x"}) for verb in ("update", "delete", "enable", "disable")
    },
    "test_notification": Write(own=404),
    "create_token": Write(own=403),
    "revoke_token": Write(own=403),
    "create_worker": Write(own=403),
    "revoke_worker": Write(own=403),
    "update_settings": Write(own=403),
    "test_repository": Write(own=403),
    "refresh_storage": Write(own=403),
}
BODIES = {
    "create_vm": {"vm_name": "x"},
    "create_notification": {"name": "x", "url": "https://x.example"},
    "create_token": {"name": "x", "role": "viewer", "groups": ["alpha-group"]},
    "create_worker": {"name": "x", "labels": {"site": "a"}},
    "create_group": {"name": "x", "members": [{"context_id": "alpha-vm"}]},
    "create_schedule": {"name": "x", "cron_expression": "0 * * * *"},
    "create_repository": {"name": "x", "type": "simulated", "location": "/x"},
    "create_policy": {"name": "x"},
    "set_freeze": {"until": "2027-01-01T00:00:00Z", "reason": "x"},
    "update_settings": {"max_concurrent_jobs": 1},
    "test_repository": {"type": "simulated"},
}
ALONE = ("alpha", "common")
UNSCOPED = {
    "storage",
    "storage_history",
    "ungrouped_vms",
    "list_workers",
    "list_tokens",
    "get_token",
}  # reads that are about machines, or about what nobody's groups have
BESIDE_THE_LOG = {"list_workers"}  # reads of what is published there: here the log is silent
OWN = {"flow": "alpha-idle", "execution": "alpha-x"}  # else the first of a kind


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, empty_tables: Path) -> dict[Collection[str], str]:
    """The tables of both worlds, and of one of them alone: nobody writes to them."""

    def recorded(of: Collection[str]) -> str:
        file = tmp_path_factory.mktemp("worlds") / "flows.db"
        return asyncio.run(worlds.recorded(Path(shutil.copy(empty_tables, file)), of))

    return {of: recorded(of) for of in (worlds.EVERYTHING, ALONE)}


@pytest.fixture
def _then(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the time when all has happened."""
    for module in ("api.context", "api.routes.calendar", "api.auth"):
        monkeypatch.setattr(f"{module}.now", lambda: LATER)


@pytest.fixture
async def both(tables: dict[Collection[str], str], _then: None) -> AsyncIterator[House]:
    made = House(tables[worlds.EVERYTHING])
    yield made
    await made.close()


@pytest.fixture
async def alone(tables: dict[Collection[str], str], _then: None) -> AsyncIterator[House]:
    """Without bravo."""
    made = House(tables[ALONE], ALONE)
    yield made
    await made.close()


# --- every route is known here ---------------------------------------------------------------------------------------


def test_every_route_is_classified() -> None:
    """A new route says here what it is: without a token, a read whose parameters are known, or a write."""
    assert {route.path for route, guarded in routes(APP) if not guarded} == PUBLIC
    unknown = {route.name: route.parameters - set(FILTERS) - NEUTRAL for route in READS}
    assert {name: parameters for name, parameters in unknown.items() if parameters} == {}
    assert {route.name for route in ROUTES if route.method != "GET"} == set(WRITES)
    assert all(route.kinds is not None for route in ROUTES)


def test_every_table_is_classified() -> None:
    """A table that nothing is said of is empty for those with a scope; which are so on purpose is said here."""
    assert set(t.metadata.tables) - {table.name for table in (*RULES, *OPEN)} == {
        "identities",
        "notification_deliveries",
        "notifications",
        "tokens",
        "workers",
    }


# --- reads -----------------------------------------------------------------------------------------------------------


async def leaks(both: House, alone: House, *, filters: bool = True) -> AsyncIterator[tuple[Asked, bytes]]:
    """Yield what alpha gets that has something of bravo in it, or that differs by a byte where there is no bravo.

    So no count, total, state, order or reason is another one because of what one may not see.
    """
    for route in READS:
        for asked in (one for world in ("alpha", "common") for one in route.reads(world, filters=filters)):
            found, expected = await both.ask("alpha", asked), await alone.ask("alpha", asked)
            if b"bravo" in found.content.lower() or found.content != expected.content:
                yield asked, found.content


async def test_nothing_of_the_other_world_is_in_any_response(both: House, alone: House) -> None:
    assert [one async for one in leaks(both, alone)] == []


@pytest.mark.parametrize("who", ["bravo", "nothing"])
async def test_nor_for_others(both: House, who: str) -> None:
    for route in READS:
        for asked in (one for world in (who, "common") for one in route.reads(world, filters=False)):
            assert b"alpha" not in (await both.ask(who, asked)).content.lower(), asked


@pytest.mark.parametrize("world", worlds.WORLDS)
async def test_each_world_is_there_for_who_may_see_it(both: House, world: str) -> None:
    """So that finding nothing of the other one says something."""
    for route in READS:
        for path in route.paths(world):
            hidden = any(text in path for text in ("-gone", "-skipped", "waiting/explain"))  # for everybody
            asked = Asked(method="GET", path=path)
            everything, own = await both.ask("everything", asked), await both.ask(world, asked)
            there = 503 if route.name in BESIDE_THE_LOG else 200
            assert everything.status_code == there or hidden, (path, everything.text)
            expected = 403 if route.name in UNSCOPED else 404 if "notification" in route.kinds else 200
            assert own.status_code == expected or hidden or path.endswith("refused"), (path, own.text)


@pytest.mark.parametrize("who", ["alpha", "nothing"])
async def test_what_one_may_not_see_is_as_if_it_were_not_there(both: House, who: str) -> None:
    """By each id, and in each filter: the same response as for one that nobody has."""
    asked_about = [asked for route in READS for asked in route.reads("bravo") if asked != asked.about("zulus")]
    assert len(asked_about) > 80
    for asked in asked_about:
        found, unknown = await both.ask(who, asked), await both.ask(who, asked.about("zulus"))
        assert found.status_code == unknown.status_code, (asked, found.text)
        told = found.content.replace(b"bravo", b"zulus").replace(b"BRAVO", b"ZULUS")
        assert told == unknown.content, asked
        assert found.headers.get("etag") == unknown.headers.get("etag")


@pytest.mark.parametrize("table", RULES, ids=lambda table: table.name)
async def test_without_one_of_its_rules_the_matrix_fails(
    both: House, alone: House, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    """A negative control: each table's rule is needed, and looked for."""
    monkeypatch.setattr(visibility, "RULES", {**RULES, table: lambda *_: true()})
    visibility._parts.cache_clear()
    try:
        assert await anext(leaks(both, alone, filters=False), None) is not None
    finally:
        visibility._parts.cache_clear()


async def test_the_ids_of_flows_that_may_be_seen(both: House) -> None:
    for world in worlds.WORLDS:
        found = await flows.visible_ids(both.reader.seen_by(EVERYBODY[world]))
        assert found == {f"{world}-flow", f"{world}-on-vm", f"{world}-idle"}
    assert len(await flows.visible_ids(both.reader.seen_by(EVERYBODY["everything"]))) == 6


# --- writes ----------------------------------------------------------------------------------------------------------


def _path(route: Route, world: str) -> str:
    own = {} if "backfill" in route.kinds else OWN
    ids = iter([own.get(kind, f"alpha-{kind}").replace("alpha", world) for kind in route.kinds])
    return "/".join(next(ids) if part.startswith("{") else part for part in route.path.split("/"))


WRITTEN = [route for route in ROUTES if route.method != "GET"]


@pytest.mark.parametrize("route", WRITTEN, ids=lambda route: route.name)
async def test_what_one_may_do(both: House, route: Route) -> None:
    write = WRITES[route.name]
    body = BODIES.get(route.name, write.body)
    asked = Asked(method=route.method, path=_path(route, "alpha"), body=body)
    found = await both.ask("alpha", asked)
    assert found.status_code == write.own, found.text
    assert bool(both.submitted.commands) == (write.own == 202 or route.name.startswith("bulk_"))
    assert b"bravo" not in found.content.lower()
    if route.kinds:
        both.submitted.commands.clear()
        other = Asked(method=route.method, path=_path(route, "bravo"), body=body)
        refused, unknown = await both.ask("alpha", other), await both.ask("alpha", other.about("zulus"))
        guards = [getattr(guard, "func", guard) for guard in route.handler.resolve_guards()]
        status = 403 if permission.unscoped in guards else 404
        assert (refused.status_code, unknown.status_code) == (status, status), refused.text
        assert refused.content.replace(b"bravo", b"zulus") == unknown.content
        assert both.submitted.commands == []
        # one who may see everything does get there
        assert (await both.ask("everything", other)).status_code in {200, 202, 409, 422, 503}


SHARED = [(kind, f"common-{kind}") for kind in ("vm", "schedule", "repository", "policy")]


@pytest.mark.parametrize(("kind", "id_"), SHARED)
@pytest.mark.parametrize("verb", ["update", "delete", "enable", "disable"])
async def test_what_others_use_too_is_not_changed(both: House, kind: str, id_: str, verb: str) -> None:
    (route,) = (one for one in WRITTEN if one.name == f"{verb}_{kind}")
    path = route.path.replace("{id:str}", id_)
    found = await both.ask("alpha", Asked(method=route.method, path=path, body=WRITES[route.name].body))
    assert found.status_code == 403
    assert f"{kind} {id_!r} is used outside of the protection groups" in found.json()["detail"]
    assert both.submitted.commands == []


@pytest.mark.parametrize(
    ("path", "body"), [("vm-contexts/alpha-vm", {"disks": []}), ("repositories/alpha-repository", {"location": "/y"})]
)
async def test_which_files_of_machines_are_used_is_not_for_one_with_a_scope(
    both: House, path: str, body: dict[str, Any]
) -> None:
    """Else one could name the disks of somebody else's VMs as those of one's own, and have them backed up."""
    found = await both.ask("alpha", Asked(method="PUT", path=f"/api/v1/{path}", body=body))
    assert (found.status_code, both.submitted.commands) == (403, [])
    assert "files of the machines" in found.json()["detail"]


REFERENCES = [
    *(("POST", "protection-flows", {**FLOW, f"{kind}_id": f"bravo-{kind}"}) for kind in ("policy", "schedule")),
    ("POST", "protection-flows", {**FLOW, "repository_id": "bravo-repository"}),
    ("POST", "protection-flows", {**FLOW, "target_id": "bravo-vm"}),
    ("POST", "protection-flows", {**FLOW, "target_id": "BRAVO-VM"}),
    ("POST", "protection-flows", {**FLOW, "target_type": "group", "target_id": "bravo-group"}),
    ("PUT", "protection-flows/alpha-idle", {"target_id": "bravo-vm"}),
    ("PUT", "protection-flows/alpha-idle", {"repository_id": "bravo-repository"}),
    ("PUT", "machine-groups/alpha-group", {"schedule_id": "bravo-schedule"}),
    ("POST", "backups", {"context_id": "bravo-vm", "repository_id": "alpha-repository"}),
    ("POST", "backups", {"context_id": "alpha-vm", "repository_id": "bravo-repository"}),
    ("POST", "executions/alpha-running/cancel", {"context_id": "bravo-vm"}),
]


@pytest.mark.parametrize(("method", "path", "body"), REFERENCES)
async def test_a_reference_to_what_one_may_not_see_leads_nowhere(
    both: House, method: str, path: str, body: dict[str, Any]
) -> None:
    other = {name: text.replace("bravo", "zulus").replace("BRAVO", "ZULUS") for name, text in body.items()}
    found = await both.ask("alpha", Asked(method=method, path=f"/api/v1/{path}", body=body))
    unknown = await both.ask("alpha", Asked(method=method, path=f"/api/v1/{path}", body=other))
    assert (found.status_code, unknown.status_code) == (422, 422), found.text
    assert found.content.replace(b"bravo", b"zulus").replace(b"BRAVO", b"ZULUS") == unknown.content
    assert both.submitted.commands == []


async def test_many_flows_at_once_are_each_looked_at(both: House) -> None:
    for verb in ("enable", "disable", "delete"):
        body = {"flow_ids": ["alpha-idle", "bravo-idle", "zulus-idle"]}
        found = await both.ask("alpha", Asked(method="POST", path=f"/api/v1/protection-flows/bulk-{verb}", body=body))
        errors = found.json()["errors"]
        assert errors["bravo-idle"].replace("bravo", "zulus") == errors["zulus-idle"]
        assert [command.id for command in both.submitted.commands] == ["alpha-idle"]
        both.submitted.commands.clear()


async def test_a_backfill_is_cancelled_by_its_own_flow_alone(both: House) -> None:
    """Its id decides what is cancelled: that of another world's, with one's own flow, would have cancelled that."""
    path = "/api/v1/protection-flows/alpha-flow/backfill/bravo-backfill/cancel"
    found = await both.ask("alpha", Asked(method="POST", path=path))
    assert (found.status_code, both.submitted.commands) == (404, [])


async def test_a_command_that_nothing_is_said_of_is_refused(both: House) -> None:
    reader = both.reader.seen_by(EVERYBODY["alpha"])
    with pytest.raises(permission.ApiError, match="limited to protection groups"):
        await permission.check(reader, c.PruneHistory(id="engine", before=LATER))


# --- live ------------------------------------------------------------------------------------------------------------


async def test_a_ticket_shows_no_more_than_its_token(both: House) -> None:
    ticket = (await both.ask("alpha", Asked(method="POST", path="/api/v1/live/ticket"))).json()["ticket"]
    found = await both._client.get("/api/v1/events", params={"ticket": ticket, "after": 0})
    assert b"alpha-running" in found.content
    assert b"bravo" not in found.content.lower()


async def test_what_is_no_longer_to_be_seen_ends_in_a_stream_that_is_open(tmp_path: Path, empty_tables: Path) -> None:
    """As do messages about what has come to be seen begin: what the tables say when they are handed out counts."""
    tables = Tables(database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db"))))
    alpha, bravo = group("alpha-group", ["vm-1"]), group("bravo-group", ["vm-2"])
    made = [vm("vm-1"), vm("vm-2"), alpha, bravo, repository(), flow(target_id="alpha-group"), due()]
    moved = [flow(target_id="bravo-group", version=2), due(at=LATER)]
    back = [flow(target_id="alpha-group", version=3), due(at=LATER + timedelta(hours=1))]
    log: list[Stored] = []

    class Growing:
        """The log as it grows, each message in the tables before it is handed out."""

        async def subscribe(self, *_: Any, **__: Any) -> AsyncIterator[Stored]:
            for messages in (made, moved, back):
                new = history(*messages, start=len(log) + 1)
                await tables.apply(new, worlds.STREAM)
                log.extend(new)
                yield new[-1]

    reader = ReadModel(database.reader(tables._url))

    async def reached(_: int) -> bool:
        return True

    context: Any = SimpleNamespace(reader=reader.seen_by(EVERYBODY["alpha"]), reached=reached)
    broadcaster: Any = Growing()
    everything = live.EventFilter(flow_id=None, execution_id=None, type="flow", identities=False)
    found = [one.id async for one in live._seen(context, broadcaster, 0, everything, lambda _: True)]
    assert found == [None, 7, 11]  # it is connected; then the one before it went, and the one after it came back
    await reader.close()
    await tables.close()


async def test_the_metrics_of_flows_are_of_those_that_may_be_seen(both: House) -> None:
    about = {"last_success": None, "interval": None, "overdue": True}
    late = [FlowLateness(flow_id=f"{world}-flow", name=f"{world} flow", **about) for world in worlds.WORLDS]

    async def get() -> Counted:
        return Counted(common=b"", flows=late)

    state = both.app.state
    state.metrics, state.counters = SimpleNamespace(get=get), SimpleNamespace(registry=CollectorRegistry())
    asked = Asked(method="GET", path="/metrics")
    for who, seen in (("alpha", {b"alpha"}), ("nothing", set()), ("everything", {b"alpha", b"bravo"})):
        found = (await both.ask(who, asked)).content
        assert {world for world in (b"alpha", b"bravo") if world in found} == seen
