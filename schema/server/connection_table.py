"""The open HTTP connections of a process, bounded for each network and in all."""

from collections.abc import Callable, Iterable
from typing import Protocol

from services.core.networks import normalize_address


class Connection(Protocol):
    """A connection that can be closed while it waits for a request."""

    @property
    def is_idle(self) -> bool:
        """True while no request of it is being answered or has wholly arrived."""

    def drop(self) -> None:
        """Close it at once."""


class ConnectionTable:
    """The open connections, oldest first. A full table closes an idle one to make room.

    Websockets leave it: they have limits of their own.
    """

    def __init__(self, *, limit: int, network_limit: int, is_exempt: Callable[[str], bool]) -> None:
        """Hold at most so many connections; `is_exempt` tells addresses that count in the total alone."""
        self._limit, self._network_limit, self._is_exempt = limit, network_limit, is_exempt
        self._networks: dict[str, dict[Connection, None]] = {}
        self._network_of: dict[Connection, str] = {}

    def __len__(self) -> int:
        return len(self._network_of)

    def admit(self, connection: Connection, *, address: str) -> bool:
        """Add a connection; return False if there is no room, and no idle one to close for it."""
        network = normalize_address(address)
        own = self._networks.get(network, {})
        is_full = len(own) >= self._network_limit and not self._is_exempt(address)
        if is_full and not self._drop_idle(own):
            return False
        # Whoever holds most gives way first, so that a flood cannot push others out.
        if len(self._network_of) >= self._limit:
            largest = max(self._networks.values(), key=len)
            if not (self._drop_idle(largest) or self._drop_idle(self._network_of)):
                return False
        self._networks.setdefault(network, {})[connection] = None
        self._network_of[connection] = network
        return True

    def remove(self, connection: Connection) -> None:
        """Remove a connection, if it is still here."""
        if (network := self._network_of.pop(connection, None)) is None:
            return
        own = self._networks[network]
        del own[connection]
        if not own:
            del self._networks[network]

    def _drop_idle(self, candidates: Iterable[Connection]) -> bool:
        """Close the oldest idle one; return False if there is none."""
        idle = next((connection for connection in candidates if connection.is_idle), None)
        if idle is None:
            return False
        self.remove(idle)
        idle.drop()
        return True
