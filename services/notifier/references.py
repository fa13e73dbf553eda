"""References: the secrets of notifications, found where a definition says. They are read anew for each delivery."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from schemas.notifications import Notification

LARGEST = 16 * 1024  # bytes of a file with a secret


class Missing(Exception):
    """A secret is not where its reference says. Never says the secret."""


async def secret(notification: Notification) -> str:
    """Return the secret of a notification. Raises `Missing`."""
    if notification.secret_env is not None:
        value = os.environ.get(notification.secret_env, "")
        where = f"the notifier's environment variable {notification.secret_env}"
    elif notification.secret_file is not None:
        where = f"the file {notification.secret_file}"
        try:
            value = await asyncio.to_thread(_read, Path(notification.secret_file))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Missing(f"the notifier cannot read {where}: {reason}") from None
    else:
        raise Missing("it has no reference to a secret")
    value = value.strip()
    if not value:
        raise Missing(f"{where} is empty or not there: put the secret there")
    return value


def _read(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        found = os.read(descriptor, LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(found) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
