"""The settings of the whole engine."""

from __future__ import annotations

from sqlalchemy import select

from api.readmodel.reader import Reader, shaped
from schemas import tables as t
from schemas.definitions import Settings
from schemas.ids import ENGINE


async def current(reader: Reader) -> Settings:
    """Return the settings; before anybody has set anything, what holds then."""
    row = await reader.row(select(t.settings).where(t.settings.c.id == ENGINE))
    return Settings() if row is None else shaped(Settings, row)
