"""Routes of notifications: who is told of what, the messages to them, and a message to try one."""

from __future__ import annotations

from typing import Annotated, TypeVar

from litestar import Router, get, post
from litestar.params import FromQuery, QueryParameter
from msgspec import UNSET, structs

from api import trying
from api.context import Context
from api.naming import Mention, ids_of
from api.problems import errors, not_found
from api.readmodel import notifications
from api.readmodel.definitions import DefinitionFilter
from api.requests import NotificationPatchRequest, NotificationRequest
from api.responses.notifications import (
    DeliveryList,
    DeliveryState,
    NotificationList,
    NotificationResponse,
    NotificationTest,
)
from api.routes.crud import CrudResource, known, router
from api.routes.parameters import READ, Enabled, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c

State = FromQuery[Annotated[DeliveryState | None, QueryParameter(name="state", description="only those")]]

N = TypeVar("N", NotificationRequest, NotificationPatchRequest)


async def _read(context: Context, notification_id: str) -> NotificationResponse | None:
    return await notifications.one(context.reader, notification_id)


async def _refer(context: Context, body: N, _: str | None) -> N:
    """Return a body with the ids of the flows that it names."""
    if body.flows is UNSET or not body.flows:
        return body
    mentions = [Mention(field=f"flows[{n}]", kind="flow", text=text) for n, text in enumerate(body.flows)]
    found = await ids_of(context, mentions)
    return structs.replace(body, flows=list(dict.fromkeys(found[one.field] for one in mentions)))


NOTIFICATION = CrudResource(
    kind="notification",
    path="/notifications",
    tag="Notifications",
    request=NotificationRequest,
    patch=NotificationPatchRequest,
    response=NotificationResponse,
    create=c.CreateNotification,
    update=c.UpdateNotification,
    delete=c.DeleteNotification,
    enable=c.EnableNotification,
    disable=c.DisableNotification,
    read=_read,
    refer=_refer,
)


@get("/", responses=READ, opt={"role": "viewer"})
async def list_notifications(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> NotificationList:
    """List notifications, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    return await notifications.listed(context.reader, wanted, sort, page(limit, offset))


@get("/deliveries", responses=READ, opt={"role": "viewer"})
async def list_all_deliveries(
    context: Context, in_state: State = None, limit: Limit = 50, offset: Offset = 0
) -> DeliveryList:
    """List the messages of all notifications, newest first, and what became of each."""
    return await notifications.all_deliveries(context.reader, in_state, page(limit, offset))


@get("/{id:str}/deliveries", responses=READ, opt={"role": "viewer"})
async def list_deliveries(
    context: Context,
    id: PathId,  # noqa: A002
    in_state: State = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> DeliveryList:
    """List a notification's messages, newest first, and what became of each."""
    found = await notifications.deliveries(context.reader, id, in_state, page(limit, offset))
    if found is None:
        raise not_found("notification", id)
    return found


@post("/{id:str}/test", responses={**READ, **errors(403)}, status_code=200, opt={"role": "admin"})
async def test_notification(context: Context, id: PathId) -> NotificationTest:  # noqa: A002
    """Send a message, marked as a test, to the receiver now, and return what it replied."""
    found = await known(NOTIFICATION, context, id)
    result = await trying.test(context.log, id, found.version)
    return NotificationTest(**structs.asdict(result))


ROUTER = Router(
    path="/",
    route_handlers=[
        router(NOTIFICATION, [list_notifications, list_all_deliveries, list_deliveries, test_notification]),
    ],
)
