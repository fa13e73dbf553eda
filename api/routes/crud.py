# pyright: reportInvalidTypeForm=false
"""The routes that all six kinds of definition share: create, get, update, enable, disable, delete.

What differs is in a `Resource`. The handlers are made from it, so their annotations are values here: this module must
not postpone the evaluation of annotations.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Response, Router, delete, get, patch, post, put
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody

from api.context import Context
from api.problems import ApiError, not_found
from api.readmodel.reader import Reader
from api.routes.parameters import READ, WRITE, PathId, tagged
from schemas.base import Value
from schemas.commands import Create, Delete, Disable, Enable, Update


class Resource(Value, frozen=True, kw_only=True):
    """One kind of definition as a resource: its path, shapes, commands, and the question that reads one."""

    kind: str
    path: str
    tag: str
    input: type[Any]
    patch: type[Any]
    answer: type[Any]
    create: type[Create]
    update: type[Update]
    delete: type[Delete]
    enable: type[Enable]
    disable: type[Disable]
    read: Callable[[Reader, str], Awaitable[Any]]
    new_id: Callable[[Context, Any], str] | None = None
    before_delete: Callable[[Context, str, bool], Awaitable[None]] | None = None  # with `force` as asked
    detachable: bool = False
    resumable: bool = False  # enabling it may ask for what was missed


def router(resource: Resource, handlers: Sequence[BaseRouteHandler]) -> Router:
    """Return a resource's router: the shared routes, and the handlers that are its own."""
    shared = [*_write_routes(resource), *_read_routes(resource)]
    return Router(path=resource.path, route_handlers=[*shared, *handlers], tags=[resource.tag])


async def known(resource: Resource, context: Context, id_: str) -> Any:
    """Return a definition. Raises 404."""
    found = await resource.read(context.reader, id_)
    if found is None:
        raise not_found(resource.kind, id_)
    return found


async def required(resource: Resource, context: Context, id_: str, *, part: str | None = None) -> None:
    """Raise 404 for a change of what is not there, unless the change was asked for before, when it was."""
    if not await context.repeats(part):
        await known(resource, context, id_)


async def changed(resource: Resource, context: Context, id_: str, status_code: int = 200) -> Response[Any]:
    """Return a definition after an accepted change."""
    found = await resource.read(context.reader, id_)
    if found is None:
        raise ApiError(404, f"the change was made, and {resource.kind} {id_!r} has been deleted since")
    return tagged(found, found.version, status_code)


def _read_routes(resource: Resource) -> list[BaseRouteHandler]:
    @get("/{id:str}", responses=READ, operation_id=f"get_{resource.kind}", summary=f"Return one {resource.kind}")
    async def one(context: Context, id: PathId) -> Response[resource.answer]:  # noqa: A002
        found = await known(resource, context, id)
        return tagged(found, found.version)

    return [one]


def _write_routes(resource: Resource) -> list[BaseRouteHandler]:
    kind = resource.kind

    @post("/", responses=WRITE, operation_id=f"create_{kind}", summary=f"Create a {kind}")
    async def create(context: Context, data: JSONBody[resource.input]) -> Response[resource.answer]:
        id_ = resource.new_id(context, data) if resource.new_id else context.new_id(kind)
        await context.submit(resource.create(id=id_, spec=data))  # type: ignore[call-arg]
        return await changed(resource, context, id_, 201)

    @put("/{id:str}", responses=WRITE, operation_id=f"update_{kind}", summary=f"Change the given fields of a {kind}")
    async def update(context: Context, id: PathId, data: JSONBody[resource.patch]) -> Response[resource.answer]:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.update(id=id, patch=data, if_version=context.if_version))  # type: ignore[call-arg]
        return await changed(resource, context, id)

    into_use: dict[str, Any] = {"operation_id": f"enable_{kind}", "summary": f"Take a {kind} into use"}

    @patch("/{id:str}/enable", responses=WRITE, **into_use)
    async def enable_plain(context: Context, id: PathId) -> Response[resource.answer]:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.enable(id=id, if_version=context.if_version))
        return await changed(resource, context, id)

    @patch("/{id:str}/enable", responses=WRITE, **into_use)
    async def enable_missed(
        context: Context,
        id: PathId,  # noqa: A002
        run_missed: FromQuery[bool] = False,
    ) -> Response[resource.answer]:
        await required(resource, context, id)
        command = resource.enable(id=id, if_version=context.if_version, run_missed=run_missed)  # type: ignore[call-arg]
        await context.submit(command)
        return await changed(resource, context, id)

    enable = enable_missed if resource.resumable else enable_plain

    @patch("/{id:str}/disable", responses=WRITE, operation_id=f"disable_{kind}", summary=f"Take a {kind} out of use")
    async def disable(context: Context, id: PathId) -> Response[resource.answer]:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.disable(id=id, if_version=context.if_version))
        return await changed(resource, context, id)

    async def remove(context: Context, id_: str, *, detach: bool = False, force: bool = False) -> None:
        if not await context.repeats():
            await known(resource, context, id_)
            if resource.before_delete:
                await resource.before_delete(context, id_, force)
        await context.submit(resource.delete(id=id_, if_version=context.if_version, detach=detach))

    options: dict[str, Any] = {"operation_id": f"delete_{kind}", "summary": f"Delete a {kind}", "responses": WRITE}
    if resource.detachable:

        @delete("/{id:str}", **options)
        async def delete_detaching(context: Context, id: PathId, detach: FromQuery[bool] = False) -> None:  # noqa: A002
            await remove(context, id, detach=detach)

        return [create, update, enable, disable, delete_detaching]
    if resource.before_delete:

        @delete("/{id:str}", **options)
        async def delete_forcing(context: Context, id: PathId, force: FromQuery[bool] = False) -> None:  # noqa: A002
            await remove(context, id, force=force)

        return [create, update, enable, disable, delete_forcing]

    @delete("/{id:str}", **options)
    async def delete_plain(context: Context, id: PathId) -> None:  # noqa: A002
        await remove(context, id)

    return [create, update, enable, disable, delete_plain]
