"""Routes of workers: which are there, which have an identity of their own, and how one comes to it."""

from __future__ import annotations

import hmac
import logging
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any

from litestar import Request, Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from msgspec import structs

from api.attempts import Attempts
from api.auth import address_in
from api.context import Context, RequestContext
from api.identity import Identity
from api.permission import unscoped
from api.problems import ApiError, Pending, address, errors, not_found, too_many
from api.readmodel import workers as known
from api.requests import EnrolmentRequest, WorkerRequest
from api.resources import AppResources, Resources
from api.responses.workers import CreatedEnrolment, EnrolledResponse, PendingEnrolment, WorkerList
from api.routes.parameters import READ, WRITE, PathId
from api.workers import enrolment, present
from bus.clock import now
from schemas import commands as c
from schemas import workers as secrets
from schemas.tokens import BYTES, digest_of
from schemas.workers import Worker, WorkerSpec
from services import health
from services.enrolled import worker_named
from services.worker import status

WINDOW = timedelta(hours=1)  # in which a worker may enrol itself, when nothing else is said
SHOWN_ONCE = (
    "this request came before with its Idempotency-Key, and the one-time token was shown then, once: the engine does "
    "not know it. If nobody has it, revoke the worker and create another one, with another name and key"
)
WRONG = "the one-time token is wrong: was it cut off? An administrator makes one with `flows worker token create`"
TOO_MANY_WRONG = "too many wrong tokens were shown"
NOT_YET = "the request is on the log, and nobody has decided on it yet: is `flows serve registry` running? Try again"
log = logging.getLogger(__name__)

PUBLIC: list[dict[str, list[str]]] = [{}]  # in OpenAPI: nobody has to be known


@get("/", responses=READ, guards=[unscoped], opt={"role": "viewer"})
async def list_workers(context: Context) -> WorkerList:
    """List the workers that are there, by name: their labels, engines and slots, and how each one is.

    And those that have an identity of their own, may enrol themselves for one, or had one, newest first.
    """
    log = context.log
    statuses, heartbeats = await log.statuses(status.PREFIX), await log.statuses(health.key_of("worker"))
    there = present(statuses, heartbeats, await log.time())
    names = {one.enrolment for one in there}
    rows = await known.find(context.reader)
    return WorkerList(workers=there, enrolments=[enrolment(row, names, context.now) for row in rows])


@post(
    "/",
    responses={
        **WRITE,
        202: ResponseSpec(PendingEnrolment, description="It waits on the log", generate_examples=False),
    },
    guards=[unscoped],
    opt={"role": "admin"},
)
async def create_worker(
    context: Context, data: JSONBody[WorkerRequest]
) -> Response[CreatedEnrolment | PendingEnrolment]:
    """Let a worker enrol itself. The response has its one-time token, this once: the engine keeps only a SHA-256 of it.

    A request that comes again with its Idempotency-Key is refused, as the token was shown already.
    """
    if await context.repeats():
        raise ApiError(409, SHOWN_ONCE)
    token = secrets.token(data.name, token_urlsafe(BYTES))
    spec = WorkerSpec(
        name=data.name,
        labels=data.labels,
        token_digest=digest_of(token),
        expires_at=data.expires_at or context.now + WINDOW,
    )
    headers = {"Cache-Control": "no-store"}
    try:
        await context.submit(c.CreateWorker(id=data.name, spec=spec))
        made = enrolment(await _row(context, data.name), (), context.now)
    except Pending as pending:
        message = "the command is on the log; the token enrols nobody before its outcome, and is not shown again"
        body = PendingEnrolment(command_id=pending.command_id, status="pending", message=message, token=token)
        return Response(body, status_code=202, headers={**headers, "Location": address(pending.command_id)})
    return Response(CreatedEnrolment(**structs.asdict(made), token=token), status_code=201, headers=headers)


@post(
    "/enrol",
    status_code=200,
    responses=errors(400, 401, 409, 413, 422, 429, 503),
    opt={"public": True},
    security=PUBLIC,
)
async def enrol_worker(
    request: Request[Any, Any, Any], state: State, resources: AppResources, data: JSONBody[EnrolmentRequest]
) -> EnrolledResponse:
    """Enrol the worker that a one-time token is for. The token is good once; the same request again changes nothing.

    From here on the worker is the user `worker-<name>` of NATS; its password is the secret with this digest.
    """
    worker = await _entitled(request, state, resources, data)
    request.scope["user"] = Identity(actor=f"{secrets.ACTOR}{worker.name}", role="viewer")
    context = RequestContext(resources, request)
    try:
        await context.submit(c.EnrolWorker(id=worker.id, token_digest=worker.token_digest, digest=data.digest))
    except Pending:
        raise ApiError(503, NOT_YET, headers={"Retry-After": "2"}) from None
    return EnrolledResponse(id=worker.id, name=worker.name, labels=worker.labels, nats_url=state.workers_nats_url)


@delete("/{worker_id:str}", responses=WRITE, guards=[unscoped], opt={"role": "admin"})
async def revoke_worker(context: Context, worker_id: PathId) -> None:
    """Revoke a worker, for ever: NATS refuses it, and what it had taken is retried elsewhere. What it did stays.

    One that has not enrolled itself yet cannot any more.
    """
    if not await context.repeats():
        await _row(context, worker_id)
    await context.submit(c.RevokeWorker(id=worker_id))


async def _entitled(
    request: Request[Any, Any, Any], state: State, resources: Resources, data: EnrolmentRequest
) -> Worker:
    """Return the worker that a one-time token is for. Raises 401, and 429 for too many that are wrong, or used."""
    attempts: Attempts = state.attempts
    client, at = address_in(request), now()
    name = secrets.named(data.token)
    worker = None if name is None else await worker_named(resources.log, name)
    right = worker is not None and hmac.compare_digest(digest_of(data.token), worker.token_digest)
    if right and worker is not None and _is_open(worker, data, at):
        return worker
    if seconds := attempts.wrong(client, data.token, at.timestamp()):
        raise too_many(TOO_MANY_WRONG, seconds)
    if not right or worker is None:
        raise ApiError(401, WRONG)
    about = {"action": "enrolment_refused", "worker": worker.name, "address": client}
    log.warning("a token of worker %r that is good no more was shown, from %s", worker.name, client, extra=about)
    return worker  # the registry refuses it, so that it stands in the audit log


def _is_open(worker: Worker, data: EnrolmentRequest, at: datetime) -> bool:
    """Tell whether a token still enrols its worker, or did so with this very secret."""
    if worker.revoked_at is not None:
        return False
    return worker.digest == data.digest if worker.digest is not None else worker.expires_at > at


async def _row(context: RequestContext, worker_id: str) -> known.Row:
    """Return a worker's row. Raises 404."""
    row = await known.one(context.reader, worker_id)
    if row is None:
        raise not_found("worker", worker_id)
    return row


ROUTER = Router(
    path="/workers",
    route_handlers=[list_workers, create_worker, enrol_worker, revoke_worker],
    tags=["Workers"],
)
