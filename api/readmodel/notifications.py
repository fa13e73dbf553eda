"""Notifications, with what waits for their receivers; and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Select, func, select

from api.readmodel.definitions import DefinitionFilter, matching
from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.notifications import (
    Delivery,
    DeliveryList,
    DeliveryState,
    NotificationList,
    NotificationResponse,
)
from schemas import tables as t

UNSETTLED = ("waiting", "retrying")


@consistent
async def listed(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> NotificationList:
    """Return a page of notifications."""
    large = [column for column in t.notifications.c if isinstance(column.type, JSON)]
    statement = matching(t.notifications, select(t.notifications), wanted, sort)
    rows, total = await reader.page(statement, page, large)
    return NotificationList(notifications=await _responses(reader, rows), total=total)


@consistent
async def one(reader: Reader, notification_id: str) -> NotificationResponse | None:
    """Return a notification, None when there is none."""
    row = await reader.row(select(t.notifications).where(t.notifications.c.id == notification_id))
    return None if row is None else (await _responses(reader, [row]))[0]


async def _responses(reader: Reader, rows: Sequence[Mapping[str, Any]]) -> list[NotificationResponse]:
    d, f = t.deliveries, t.protection_flows
    ids = [row["id"] for row in rows]
    unsettled = d.c.state.in_(UNSETTLED) & d.c.notification_id.in_(ids)
    counted = select(d.c.notification_id, func.count().label("number")).where(unsettled).group_by(d.c.notification_id)
    waiting = {row.notification_id: row.number for row in await reader.rows(counted)}
    retrying = select(d.c.notification_id, d.c.retrying_since, d.c.last_error)
    retrying = retrying.where((d.c.state == "retrying") & d.c.notification_id.in_(ids)).order_by(d.c.sequence.desc())
    failing = {row.notification_id: (row.retrying_since, row.last_error) for row in await reader.rows(retrying)}
    flows = sorted({id_ for row in rows for id_ in row["flows"]})
    called = {row.id: row.name for row in await reader.rows(select(f.c.id, f.c.name).where(f.c.id.in_(flows)))}
    responses: list[NotificationResponse] = []
    for row in rows:
        since, error = failing.get(row["id"], (None, None))
        names = [called.get(id_, id_) for id_ in row["flows"]]
        more = {"waiting": waiting.get(row["id"], 0), "retrying_since": since, "last_error": error}
        responses.append(shaped(NotificationResponse, {**row, **more, "flow_names": names}))
    return responses


async def deliveries(
    reader: Reader, notification_id: str, state: DeliveryState | None, page: Page
) -> DeliveryList | None:
    """Return a page of a notification's messages, newest first; None when there is no such notification."""
    if await reader.row(select(t.notifications.c.id).where(t.notifications.c.id == notification_id)) is None:
        return None
    of_it = select(t.deliveries).where(t.deliveries.c.notification_id == notification_id)
    return await _deliveries(reader, of_it, state, page)


async def all_deliveries(reader: Reader, state: DeliveryState | None, page: Page) -> DeliveryList:
    """Return a page of the messages of all notifications, newest first."""
    return await _deliveries(reader, select(t.deliveries), state, page)


async def _deliveries(
    reader: Reader, statement: Select[*tuple[Any, ...]], state: DeliveryState | None, page: Page
) -> DeliveryList:
    if state is not None:
        statement = statement.where(t.deliveries.c.state == state)
    rows, total = await reader.page(statement.order_by(t.deliveries.c.sequence.desc()), page)
    return DeliveryList(deliveries=[shaped(Delivery, row) for row in rows], total=total)
