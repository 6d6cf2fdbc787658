"""The sockets on which the server listens: one for each address of its host name."""

import errno
import socket
from contextlib import ExitStack
from typing import Any

from services.core.errors import ConfigurationError
from services.core.settings import Settings


def bind(settings: Settings) -> list[socket.socket]:
    """Take the port before anything else starts; the sockets listen once the server is ready.

    Two servers that start at once may both take it; the second is refused when it listens.

    Raises:
        ConfigurationError: another program has the port, or no address is one of this machine.
    """
    try:
        with ExitStack() as bound:
            listeners = bind_all(settings, bound)
            bound.pop_all()
            return listeners
    except OSError as error:
        raise ConfigurationError(
            f"COMMONWEAL_HOST {settings.host} and COMMONWEAL_PORT {settings.port} cannot be listened on:"
            f" {error.strerror}. Choose another port, or stop what uses it."
        ) from None


def bind_all(settings: Settings, bound: ExitStack) -> list[socket.socket]:
    """Bind each address of the host to one port; an address that this machine lacks is left out.

    Raises:
        OSError: the port is taken, or no address is one of this machine.
    """
    listeners: list[socket.socket] = []
    port, lacking = settings.port, OSError(errno.EADDRNOTAVAIL, "The host has no address here")
    for family, address in dict.fromkeys((family, address) for family, *_, address in _resolve(settings)):
        listener = bound.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        try:
            listener.bind((address[0], port, *address[2:]))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            listener.close()
            lacking = error
            continue
        port = listener.getsockname()[1]  # of port 0, the first choice counts for all
        listeners.append(listener)
    if not listeners:
        raise lacking
    return listeners


def _resolve(settings: Settings) -> list[Any]:
    try:
        return socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError:
        raise OSError(errno.EINVAL, "The host is no name") from None
