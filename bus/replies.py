"""Request and reply beside the log: a question to whoever listens, with a short deadline. Nothing of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from bus.refusals import unavailable

NO_RESPONDERS = "503"  # the server's word for a request that nobody listens to

Reply = Callable[[bytes], Awaitable[None]]
Handler = Callable[[bytes, Reply], Awaitable[None]]


async def request_many(
    client: Client,
    subject: str,
    body: bytes,
    *,
    patience: float,
    lull: float,
    enough: Callable[[Sequence[bytes]], bool],
) -> list[bytes]:
    """Return the replies of all that listen on a subject, as many as come in time.

    It waits `patience` seconds for the first one and `lull` seconds for each further one, in all no longer than
    `patience`; and no longer than until there are `enough`. When nobody listens it returns at once.
    """
    inbox = client.new_inbox()
    replies: list[bytes] = []
    subscription = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    until = deadline
    try:
        await client.publish(subject, body, reply=inbox)
        while not enough(replies) and (left := until - loop.time()) > 0:
            try:
                message = await subscription.next_msg(timeout=left)
            except TimeoutError:
                break
            if (message.headers or {}).get("Status") == NO_RESPONDERS:
                break
            replies.append(message.data)
            until = min(deadline, loop.time() + lull)
    finally:
        await subscription.unsubscribe()
    return replies


async def respond(client: Client, subject: str, handler: Handler, *, queue: str = "") -> None:
    """Give requests on a subject to a handler, one after the other, each with the way to reply to it.

    Of all that name the same `queue`, one gets a request; without, each gets every one.

    It may reply later, or never. To reply raises `Unavailable` when the connection is closed.
    """

    async def handle(message: Msg) -> None:
        async def reply(body: bytes) -> None:
            with unavailable("the server"):
                await message.respond(body)

        if message.reply:
            await handler(message.data, reply)

    await client.subscribe(subject, queue=queue, cb=handle)  # pyright: ignore[reportUnknownMemberType]
