"""Metrics for Prometheus: `/metrics`.

What it shows to everybody needs no token, as a scraper often has none: it is numbers alone. The series of single flows
have names in them: they need a token, and are of the flows that its holder may see. It is made to be asked for by
anybody, at any rate: counted once for all, and again only after a while that grows with the tables (`api.cached`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api import auth
from api.cached import Cached
from api.metrics.counters import Counters
from api.metrics.flows import series
from api.metrics.gauges import gauges
from api.problems import errors
from api.readmodel import flows
from api.readmodel.overdue import FlowLateness, Overdue
from api.resources import AppResources, Resources
from bus.clock import now
from schemas.base import Value


class Counted(Value, frozen=True, kw_only=True):
    """What was counted at one moment: the exposition for everybody, and how each flow was."""

    common: bytes
    flows: list[FlowLateness]


@get("/metrics", tags=["Health"], media_type="text/plain", responses=errors(400, 401), security=[{}, {"bearer": []}])
async def metrics(request: Request[Any, Any, Any], resources: AppResources, state: State) -> Response[bytes]:
    """Return the engine's state as Prometheus reads it, a few seconds old; older when counting takes long.

    With a token also each flow's: whether it is overdue, its last success and its expected interval.
    """
    found: Cached[Counted] = state.metrics
    counters: Counters = state.counters
    counted = await found.get()
    body = counted.common + generate_latest(counters.registry)
    if "authorization" in request.headers:
        identity = auth.identified(request)
        late = counted.flows
        if identity.groups is not None:
            seen = await flows.visible_ids(resources.reader.seen_by(identity))
            late = [one for one in late if one.flow_id in seen]
        body += generate_latest(series(late))
    return Response(body, media_type=CONTENT_TYPE_LATEST)


def cached(resources: Resources) -> Cached[Counted]:
    """Return the metrics, to be made when somebody asks: counting takes at most one part in twenty of a connection."""
    return Cached(partial(_counted, resources, Overdue()), seconds=5.0, times=20.0)


async def _counted(resources: Resources, overdue: Overdue) -> Counted:
    """Return the engine's state now."""
    late = await overdue.find(resources.reader, now())
    return Counted(common=generate_latest(await gauges(resources, late)), flows=late)
