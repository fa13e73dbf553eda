"""Consumers with names of a given few: what an enrolled worker may follow the log by, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

from nats.js import api
from nats.js.errors import BadRequestError, ServiceUnavailableError

Request = Callable[[str, bytes], Awaitable[dict[str, Any]]]

_TAKEN = 10148  # the server's code for a consumer that is there, and is another one


async def create_one_of(request: Request, names: Sequence[str], stream: str, config: api.ConsumerConfig) -> str:
    """Create a consumer and return its name, one that no other one has just now.

    `request`: asks the server, and returns its reply. Raises `ServiceUnavailableError` when all names are taken: those
    that a crash left are free again within a minute.
    """
    for name in random.sample(names, len(names)):
        # with a mark of its own it is never taken for one that is there already
        mine = config.evolve(name=name, metadata={"made": uuid4().hex})  # pyright: ignore[reportUnknownMemberType]
        body = {"stream_name": stream, "config": mine.as_dict(), "action": "create"}
        try:
            await request(f"$JS.API.CONSUMER.CREATE.{stream}.{name}", json.dumps(body).encode())
        except BadRequestError as error:
            if error.err_code != _TAKEN:
                raise
        else:
            return name
    raise ServiceUnavailableError(description=f"all {len(names)} consumers that there may be are in use")
