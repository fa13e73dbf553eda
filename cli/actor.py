"""Who runs a command: what the log says of whoever writes to it from a terminal."""

from __future__ import annotations

import os
import pwd
import socket

_LONGEST = 255  # characters that the tables take


def actor() -> str:
    """Return the account and host of this process, `anna@backup-1`.

    The account is the kernel's word, not that of the environment, where anybody may call themselves anything.
    """
    number = os.getuid()
    try:
        account = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs under a number
        account = f"uid-{number}"
    return f"{account}@{socket.gethostname()}"[:_LONGEST]
