"""Routes of the settings of the whole engine."""

from __future__ import annotations

from litestar import Response, get, put
from litestar.params import JSONBody

from api.context import Context
from api.permission import unscoped
from api.readmodel import settings
from api.requests import SettingsPatchRequest
from api.routes.parameters import READ, WRITE, tagged
from schemas import commands as c
from schemas.definitions import Settings
from schemas.ids import ENGINE


@get("/settings", responses=READ, tags=["Settings"], opt={"role": "viewer"})
async def get_settings(context: Context) -> Response[Settings]:
    """Return the settings of the whole engine. At version 0 nobody has set anything yet."""
    found = await settings.current(context.reader)
    return tagged(found, found.version)


@put("/settings", responses=WRITE, tags=["Settings"], opt={"role": "admin"}, guards=[unscoped])
async def update_settings(context: Context, data: JSONBody[SettingsPatchRequest]) -> Response[Settings]:
    """Change the given settings; null clears one. They count at once, for what is admitted from then on."""
    await context.submit(c.UpdateSettings(id=ENGINE, patch=data, if_version=context.if_version))
    found = await settings.current(context.reader)
    return tagged(found, found.version)
