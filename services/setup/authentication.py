"""Tells nats-server who an enrolled worker is, and what it may do, as the log has it at that moment."""

from __future__ import annotations

import hmac
import logging
from datetime import timedelta

from bus.clock import Clock
from bus.errors import Unavailable
from bus.identities import AUTHENTICATION, Permissions, enrolled, revoked
from bus.issuer import Issuer, Question, question_of
from bus.log import Log
from bus.replies import Reply
from schemas.tokens import digest_of
from schemas.workers import Worker, worker_of
from services.enrolled import worker_named

log = logging.getLogger(__name__)

FAREWELL = timedelta(seconds=30)  # until a revoked worker, which may do nothing, is cut off


class Authentication:
    """Replies to servers in the name of an issuer that they know. Of all set-ups, one gets a question.

    It asks the log each time: one that was enrolled a moment ago is known, and one that was revoked is not let in.
    When the log does not respond there is no reply, and the server lets nobody in.
    """

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock

    async def open(self, flows_log: Log) -> None:
        """Reply from now on. Raises `Unavailable`."""
        self._log = flows_log
        await flows_log.respond(AUTHENTICATION, self._reply, queue="setup")

    async def _reply(self, body: bytes, reply: Reply) -> None:
        question = question_of(body)
        if question is None:
            return
        try:
            worker = await self._entitled(question)
            await reply(self._outcome(question, worker))
        except Unavailable as error:
            about = {"action": "authentication_failed", "user": question.user}
            log.warning("%r is not let into NATS, as the log does not respond: %s", question.user, error, extra=about)

    async def _entitled(self, question: Question) -> Worker | None:
        """Return the worker that somebody is, None when it is none. Raises `Unavailable`."""
        name = worker_of(question.user)
        worker = None if name is None else await worker_named(self._log, name)
        if worker is None or worker.digest is None:
            return None
        return worker if hmac.compare_digest(digest_of(question.password), worker.digest) else None

    def _outcome(self, question: Question, worker: Worker | None) -> bytes:
        at = self._clock()
        if worker is None:
            return self._issuer.refusing(question, "no enrolled worker has this name and secret", at)
        if worker.revoked_at is None:
            return self._issuer.accepting(question, _rights(worker), at, end=None)
        about = {"action": "worker_refused", "worker": worker.name}
        log.warning("worker %r was revoked, and has asked to be let into NATS", worker.name, extra=about)
        return self._issuer.accepting(question, revoked(worker.name), at, end=at + FAREWELL)


def _rights(worker: Worker) -> Permissions:
    return enrolled(worker.name, worker.labels)
