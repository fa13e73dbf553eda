"""The application over tables that hold two worlds, for those who may see one of them; and each way to ask it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import httpx
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from api import auth
from api.app import create_app
from api.auth import Tokens
from api.identity import Identity
from api.readmodel.reader import ReadModel
from api.resources import Resources
from bus.envelope import Stored
from bus.errors import Unavailable
from schemas.base import Value
from schemas.commands import Command
from services import database
from tests.api import worlds
from tests.support import T0

EVERYBODY = {
    "everything": Identity(actor="root", role="admin", token_id="everything"),
    "alpha": Identity(actor="alpha-user", role="admin", groups=frozenset({"alpha-group"}), token_id="alpha"),
    "bravo": Identity(actor="bravo-user", role="admin", groups=frozenset({"bravo-group"}), token_id="bravo"),
    "nothing": Identity(actor="nobody", role="admin", groups=frozenset(), token_id="nothing"),
}
BASE = "http://engine"


class Holders(Tokens):
    """Each of `EVERYBODY` holds a token that is called as they are."""

    def __init__(self) -> None:
        super().__init__("everything")

    def authenticate(self, token: str, at: datetime) -> Identity:
        del at
        return EVERYBODY[token]

    def identity(self, token_id: str, at: datetime) -> Identity | None:
        del at
        return EVERYBODY.get(token_id)


class Submitted:
    """Takes commands in, which wait then for ever."""

    closed = False

    def __init__(self) -> None:
        self.commands: list[Command] = []

    async def submit(self, command: Command, **_: Any) -> None:
        self.commands.append(command)

    async def find(self, _: str) -> None: ...

    async def earlier(self, _: str) -> None: ...


class Silent:
    """A log that does not respond, but for how far it is."""

    async def identity(self) -> Any:
        return SimpleNamespace(last_sequence=10_000)

    async def statuses(self, _: str) -> Any:
        raise Unavailable("silent")

    async def get_status(self, _: str) -> Any:
        raise Unavailable("silent")

    async def request_many(self, *_: Any, **__: Any) -> Any:
        raise Unavailable("silent")


class Broadcast:
    """Hands out what is on the log, and ends."""

    def __init__(self, entries: list[Stored]) -> None:
        self._entries = entries

    async def subscribe(self, takes: Any, *, after: int, ping: float) -> AsyncGenerator[Stored]:
        del ping
        for entry in self._entries:
            if entry.sequence > after and takes(entry):
                yield entry


@cache
def _app(_: Collection[str]) -> Litestar:
    """Return the application for some of the worlds, without its resources: to make one takes a while."""
    made = create_app(nats_url="nats://nowhere", database_url="sqlite+aiosqlite://", tokens=Holders())
    made._lifespan_managers.clear()
    made.state.tokens = Holders()
    return made


class House:
    """An application over some of the worlds. `url`: their tables."""

    def __init__(self, url: str, of: Collection[str] = worlds.EVERYTHING) -> None:
        self.submitted = Submitted()
        self.reader = ReadModel(database.reader(url))
        parts: Any = (Silent(), self.submitted, self.reader, Broadcast(worlds.entries(of)))
        self.app = _app(of)
        self._resources = self.app.state.resources = Resources(*parts)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE, timeout=60)

    async def ask(self, who: str, asked: Asked) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"}
        return await self._client.request(
            asked.method, asked.path, params=dict(asked.query), json=asked.body, headers=headers
        )

    async def close(self) -> None:
        await self._client.aclose()
        self._resources.files.close()
        await self.reader.close()


class Asked(Value, frozen=True, kw_only=True):
    """A request."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Any = None

    def about(self, other: str, world: str = "bravo") -> Asked:
        """Return the same request about another world."""
        return Asked(
            method=self.method,
            path=_renamed(self.path, world, other),
            query={name: _renamed(text, world, other) for name, text in self.query.items()},
            body=self.body,
        )


def _renamed(text: str, world: str, other: str) -> str:
    return text.replace(world, other).replace(world.upper(), other.upper())


# --- every route -----------------------------------------------------------------------------------------------------

# what a parameter in a path is the id of: by its name, else by what the path begins with
_NAMED = {"backfill_id": "backfill", "context_id": "vm"}
_OF = {
    "protection-flows": "flow",
    "executions": "execution",
    "backups": "backup",
    "commands": "command",
    "vm-contexts": "vm",
    "vm-groups": "group",
    "machine-groups": "group",
    "schedules": "schedule",
    "repositories": "repository",
    "policies": "policy",
    "tokens": "token",
    "workers": "worker",
    "notifications": "notification",
}
# what a parameter of a query may name
FILTERS: dict[str, tuple[str, ...]] = {
    **{name: (name.removesuffix("_id"),) for name in ("flow_id", "schedule_id", "repository_id", "policy_id")},
    **{name: (name.removesuffix("_id"),) for name in ("execution_id", "backfill_id", "flow", "execution", "vm")},
    "context_id": ("vm",),
    "vm_name": ("vm_name",),
    "target_id": ("vm", "group"),
    "entity_id": (
        "flow",
        "vm",
        "group",
        "schedule",
        "repository",
        "policy",
        "execution",
        "backfill",
        "token",
        "worker",
        "notification",
    ),
    "actor": ("actor",),
    "name": ("token",),
    "group_id": ("group",),
    "q": ("word",),
    "label": ("label",),
    "pattern": ("pattern",),
}
# parameters that name nothing
NEUTRAL = {
    *(
        "limit",
        "offset",
        "enabled",
        "sort",
        "flow_type",
        "target_type",
        "status",
        "execution_type",
        "since",
        "until",
        "in_state",
    ),
    *("at", "count", "timezone", "type", "last_event_id", "after", "ticket", "entity", "verb", "outcome"),
    *("before", "number", "by", "force", "detach", "dry_run", "run_missed"),
}
_RANGE = {"from": (T0.replace(hour=0)).isoformat(), "to": T0.replace(hour=23).isoformat()}


def values(kind: str, world: str) -> list[str]:
    """Return what of a world may be named: ids of a kind, or what else is looked for."""
    match kind:
        case "word":
            return [world]
        case "label":
            return [f"of:{world}", f"site:{world}"]
        case "pattern":
            return [f"*.*.{world}-flow", "catalog.>"]
        case _:
            return worlds.ids(world).get(kind, [])


class Route(Value, frozen=True, kw_only=True):
    """A route of the API. `path`: its template; `name`: what its handler is called."""

    method: str
    path: str
    name: str
    handler: Any

    @property
    def parameters(self) -> set[str]:
        known = set(self.handler.parsed_fn_signature.parameters)
        return known - {"context", "resources", "state", "data", "request", *self.in_path}

    @property
    def in_path(self) -> list[str]:
        return [part[1:-1].partition(":")[0] for part in self.path.split("/") if part.startswith("{")]

    @property
    def kinds(self) -> list[str]:
        """What its path names."""
        first = self.path.removeprefix("/api/v1/").split("/")[0]
        return [_NAMED.get(name) or _OF[first] for name in self.in_path]

    def paths(self, world: str) -> Iterator[str]:
        """Yield its paths to all that is a world's."""
        for ids in product(*(values(kind, world) for kind in self.kinds)):
            parts = iter(ids)
            yield "/".join(next(parts) if part.startswith("{") else part for part in self.path.split("/"))

    def reads(self, world: str, *, filters: bool = True) -> Iterator[Asked]:
        """Yield the ways in which it may be asked about a world; one that names nothing is about all of them.

        `filters`: each parameter of its query is used, once for each kind of thing that it may name.
        """
        usual: dict[str, str] = {"limit": "500"} if "limit" in self.parameters else {}
        usual |= _RANGE if "since" in self.parameters and "pattern" not in self.parameters else {}
        usual |= {"after": "0"} if "after" in self.parameters else {}
        for path in self.paths(world):
            yield Asked(method=self.method, path=path, query=usual)
            for name in sorted(self.parameters & set(FILTERS)) if filters else ():
                for value in [value for kind in FILTERS[name] for value in values(kind, world)[:1]]:
                    yield Asked(method=self.method, path=path, query={**usual, name: value})


def routes(app: Litestar) -> Iterator[tuple[Route, bool]]:
    """Yield all routes of an application, each with whether it needs a token."""
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else []:
            assert isinstance(handler, HTTPRouteHandler)
            guards = [getattr(guard, "func", guard) for guard in handler.resolve_guards()]
            guarded = auth.guard in guards and not handler.opt.get("public")
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                name = handler.operation_id if isinstance(handler.operation_id, str) else handler.handler_name
                yield Route(method=str(method), path=route.path, name=name.rpartition(".")[2], handler=handler), guarded
