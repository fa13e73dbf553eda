"""Ports for the servers of tests, each for one test alone."""

from __future__ import annotations

import socket

from bus.server import free_port

HOST = "127.0.0.1"

_reserved: list[socket.socket] = []


def reserved_port() -> int:
    """Return a port that no other test gets, in this process or in any other, and that a server may listen on.

    A socket that is bound and does not listen keeps it. Only a server shares it: those allow it on their sockets, and
    whoever looks for a free port does not.
    """
    while True:
        keeper = socket.socket()
        try:
            keeper.bind((HOST, free_port(HOST)))
        except OSError:  # somebody else was quicker
            keeper.close()
            continue
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.append(keeper)
        return int(keeper.getsockname()[1])
