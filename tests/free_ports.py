"""Ports for servers that tests start."""

import random
import socket

_FIRST, _LAST = 20_000, 30_000
"""Below the ports that systems give to clients: one of those may be taken before the server starts."""


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    while True:
        port = random.SystemRandom().randint(_FIRST, _LAST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
