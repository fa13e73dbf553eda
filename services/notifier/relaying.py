"""Relaying: messages to email and chat, through a process of its own for each (`relay.py`).

It can be ended when it hangs, gives its memory back, and can be kept from where no message may go. It is told on its
standard input alone: a URL with secrets stands in no list of processes and in no environment.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from schemas.notifications import Severity
from services.notifier.relay import Errand, Result
from services.notifier.targets import Allowed

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


class Failed(Exception):
    """A message could not be relayed, and why."""


async def relay(url: str, title: str, body: str, severity: Severity, allowed: Allowed) -> str:
    """Send a message to an apprise URL; return what to say of it. Raises `Failed`, which never says the URL."""
    errand = Errand(
        url=url,
        title=title,
        body=body,
        severity=severity,
        networks=[str(network) for network in allowed.networks],
        hosts=sorted(allowed.hosts),
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.notifier.relay"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_ENVIRONMENT | {"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    try:
        found, _ = await child.communicate(msgspec.json.encode(errand))
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    try:
        result = msgspec.json.decode(found, type=Result)
    except msgspec.MsgspecError:
        raise Failed("what sends messages to email and chat has failed") from None
    if not result.sent:
        raise Failed(result.reason)
    return result.reason
