# pyright: reportInvalidTypeForm=false
"""The routes that all six kinds of definition share: create, get, update, enable, disable, delete.

What differs is in a `CrudResource`; one with a special way to enable or to delete brings that handler with it. The
handlers are made from it, so their annotations are values here: this module must not postpone their evaluation.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Response, Router, delete, get, patch, post, put
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody

from api.context import Context
from api.permission import unscoped
from api.problems import ApiError, not_found
from api.routes.parameters import READ, WRITE, PathId, tagged
from schemas.base import Value
from schemas.commands import Create, Delete, Disable, Enable, Update


class Created(Value, frozen=True, kw_only=True):
    """What is said of a definition that was just created, beyond what it is: how to find it, and in which shape."""

    shape: type[Any]
    of: Callable[[Any, Any], Awaitable[Any]]  # of the request's context, and the definition


class CrudResource(Value, frozen=True, kw_only=True):
    """One kind of definition over HTTP: its path, shapes and commands.

    `read` returns one, None when there is none. `refer` returns a request, or a patch of the one with this id, with ids
    where it refers to something by name.
    """

    kind: str
    path: str
    tag: str
    request: type[Any]
    patch: type[Any]
    response: type[Any]
    create: type[Create]
    update: type[Update]
    delete: type[Delete]
    enable: type[Enable]
    disable: type[Disable]
    read: Callable[[Context, str], Awaitable[Any]]
    new_id: Callable[[Context, Any], str] | None = None
    created: Created | None = None
    refer: Callable[[Context, Any, str | None], Awaitable[Any]] | None = None


def router(
    resource: CrudResource,
    handlers: Sequence[BaseRouteHandler],
    *,
    enable: BaseRouteHandler | None = None,
    delete: BaseRouteHandler | None = None,
) -> Router:
    """Return a resource's router: the shared routes, and the handlers that are its own."""
    shared = [
        creating(resource),
        getting(resource),
        updating(resource),
        enable or enabling(resource),
        disabling(resource),
        delete or deleting(resource),
    ]
    return Router(path=resource.path, route_handlers=[*shared, *handlers], tags=[resource.tag])


async def known(resource: CrudResource, context: Context, id_: str) -> Any:
    """Return a definition. Raises 404."""
    found = await resource.read(context, id_)
    if found is None:
        raise not_found(resource.kind, id_)
    return found


async def required(resource: CrudResource, context: Context, id_: str, *, part: str | None = None) -> None:
    """Raise 404 for a change of what is not there, unless this change was requested before, when it was."""
    if not await context.repeats(part):
        await known(resource, context, id_)


async def changed(resource: CrudResource, context: Context, id_: str, status_code: int = 200) -> Response[Any]:
    """Return a definition after an accepted change."""
    found = await resource.read(context, id_)
    if found is None:
        raise ApiError(404, f"the change was made, and {resource.kind} {id_!r} has been deleted since")
    return tagged(found, found.version, status_code)


def getting(resource: CrudResource) -> BaseRouteHandler:
    kind = resource.kind

    @get("/{id:str}", responses=READ, opt={"role": "viewer"}, operation_id=f"get_{kind}", summary=f"Return one {kind}")
    async def handler(context: Context, id: PathId) -> Response[resource.response]:  # noqa: A002
        found = await known(resource, context, id)
        return tagged(found, found.version)

    return handler


def creating(resource: CrudResource) -> BaseRouteHandler:
    kind, created = resource.kind, resource.created
    shape = resource.response if created is None else created.shape

    # a new flow is about what one may see; everything else widens that, or is for all
    guards = [] if kind == "flow" else [unscoped]

    @post(
        "/",
        responses=WRITE,
        opt={"role": "admin"},
        guards=guards,
        operation_id=f"create_{kind}",
        summary=f"Create a {kind}",
    )
    async def handler(context: Context, data: JSONBody[resource.request]) -> Response[shape]:
        id_ = resource.new_id(context, data) if resource.new_id else context.new_id(kind)
        if resource.refer:
            data = await resource.refer(context, data, None)
        await context.submit(resource.create(id=id_, spec=data))  # type: ignore[call-arg]
        response = await changed(resource, context, id_, 201)
        if created is not None:
            response.content = await created.of(context, response.content)
        return response

    return handler


def updating(resource: CrudResource) -> BaseRouteHandler:
    kind = resource.kind

    @put(
        "/{id:str}",
        responses=WRITE,
        opt={"role": "admin"},
        operation_id=f"update_{kind}",
        summary=f"Change the given fields of a {kind}",
    )
    async def handler(
        context: Context,
        id: PathId,  # noqa: A002
        data: JSONBody[resource.patch],
    ) -> Response[resource.response]:
        await required(resource, context, id)
        if resource.refer:
            data = await resource.refer(context, data, id)
        await context.submit(resource.update(id=id, patch=data, if_version=context.if_version))  # type: ignore[call-arg]
        return await changed(resource, context, id)

    return handler


def enabling(resource: CrudResource) -> BaseRouteHandler:
    kind = resource.kind

    @patch(
        "/{id:str}/enable",
        responses=WRITE,
        opt={"role": "operator"},
        operation_id=f"enable_{kind}",
        summary=f"Take a {kind} into use",
    )
    async def handler(context: Context, id: PathId) -> Response[resource.response]:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.enable(id=id, if_version=context.if_version))
        return await changed(resource, context, id)

    return handler


def disabling(resource: CrudResource) -> BaseRouteHandler:
    kind = resource.kind

    @patch(
        "/{id:str}/disable",
        responses=WRITE,
        opt={"role": "operator"},
        operation_id=f"disable_{kind}",
        summary=f"Take a {kind} out of use",
    )
    async def handler(context: Context, id: PathId) -> Response[resource.response]:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.disable(id=id, if_version=context.if_version))
        return await changed(resource, context, id)

    return handler


def deleting(resource: CrudResource) -> BaseRouteHandler:
    kind = resource.kind

    @delete(
        "/{id:str}", responses=WRITE, opt={"role": "admin"}, operation_id=f"delete_{kind}", summary=f"Delete a {kind}"
    )
    async def handler(context: Context, id: PathId) -> None:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.delete(id=id, if_version=context.if_version))

    return handler


def detaching(resource: CrudResource) -> BaseRouteHandler:
    """Return the way to delete what flows may do without: with `detach` they let go of it."""
    kind = resource.kind

    @delete(
        "/{id:str}", responses=WRITE, opt={"role": "admin"}, operation_id=f"delete_{kind}", summary=f"Delete a {kind}"
    )
    async def handler(context: Context, id: PathId, detach: FromQuery[bool] = False) -> None:  # noqa: A002
        await required(resource, context, id)
        await context.submit(resource.delete(id=id, if_version=context.if_version, detach=detach))

    return handler
