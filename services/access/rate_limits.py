"""A bucket of points for each user, or for each network address without one, over all server processes.

The bucket is a row. A process leases points from it in chunks and spends them from memory, so that most
operations ask no database. Nothing is spent that was not leased.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.access import actor
from services.core.errors import RateLimited
from services.core.settings import Settings

LEASE_SECONDS = 10
CHUNKS = 20
"""A lease is at most one part in so many of a full bucket."""
PAUSE_SECONDS = 0.1
"""How long an empty bucket is not asked again."""
MAX_LEASES = 10_000
"""Of one process; the one used least lately goes first, with what is left of it."""
_LEASE = text("""
    INSERT INTO rate_bucket AS b (key, level, granted, at)
    VALUES (:key, :capacity - least(:need + :chunk, :capacity), least(:need + :chunk, :capacity),
            clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET (level, granted, at) = (
        SELECT available - grant_now, grant_now, moment FROM (
            SELECT available, moment, CASE
                WHEN available < :need THEN 0
                ELSE :need + least(available - :need, :chunk,
                                   greatest((available - :need) / 4, :chunk / 10))
            END AS grant_now FROM (
                SELECT least(:capacity, b.level + :back
                             + :restore * greatest(0, extract(epoch FROM moment - b.at))) AS available, moment
                FROM (SELECT clock_timestamp() AS moment) AS clock
            ) AS found
        ) AS made
    )
    RETURNING level, granted""")
_PURGE = text("DELETE FROM rate_bucket WHERE at < now() - make_interval(secs => :seconds)")
_USER = text(
    "SELECT user_id FROM token WHERE token_hash = :hash AND revoked_at IS NULL AND expires_at > now()"
)
log = logging.getLogger(__name__)


@dataclass
class _Lease:
    """What a process may spend of a bucket without asking."""

    key: str
    shared: float
    """What the bucket held when it was asked last."""
    left: float = 0.0
    asked_at: float = 0.0
    until: float = 0.0
    refused: float = math.inf
    """How many points the bucket did not have, until a moment."""
    refused_until: float = 0.0
    retry_after: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Charge:
    """Points that an operation took, and what its bucket holds."""

    buckets: "Buckets"
    lease: _Lease
    cost: int
    settled: int | None = None

    def settle(self, actual: int) -> None:
        """Give back what was not used; the second time does nothing."""
        if self.settled is None:
            self.settled = min(actual, self.cost)
            self.lease.left += self.cost - self.settled

    @property
    def limit(self) -> int:
        """How much the bucket holds when it is full."""
        return self.buckets.capacity

    @property
    def restore(self) -> int:
        """How many points a second come back."""
        return self.buckets.restore

    @property
    def remaining(self) -> int:
        """How many points are there, as far as this process knows."""
        lease = self.lease
        restored = (time.monotonic() - lease.asked_at) * self.restore
        return max(0, min(self.limit, int(lease.left + lease.shared + restored)))

    def reset_seconds(self, remaining: int) -> int:
        """In how many seconds a bucket with so much is full."""
        return math.ceil((self.limit - remaining) / self.restore)


class Refused(RateLimited):
    """Too many points asked for; wait a while."""

    def __init__(self, charge: Charge, retry_after: float) -> None:
        """Keep when to come again, in whole seconds."""
        super().__init__()
        self.charge, self.retry_after = charge, max(1, math.ceil(retry_after))


class Buckets:
    """The leases of one process. Used by one event loop."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
        """Begin without a lease."""
        self.capacity, self.restore = settings.rate_capacity, settings.rate_restore_per_second
        self.chunk = self.capacity / CHUNKS
        self._sessions = sessions
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._users: OrderedDict[bytes, tuple[UUID, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leases)

    async def key_of(self, *, token: str | None, address: str) -> str | None:
        """Return whose bucket it is: the token's user's, else the address's.

        A token that is nobody's counts for the address that shows it. An empty address is this process, which
        is not counted: None.
        """
        if token is not None:
            hashed = actor.token_hash(token)
            known = self._users.get(hashed)
            if known is None or known[1] < time.monotonic():
                known = await self._found(hashed)
            if known is not None:
                return f"user:{known[0]}"
        return f"address:{network(address)}" if address else None

    def check(self, key: str) -> None:
        """Ask nothing and nobody whether a bucket was empty a moment ago.

        Raises:
            Refused: it was.
        """
        lease = self._leases.get(key)
        if lease is not None and lease.left < 1 and time.monotonic() < lease.refused_until:
            raise Refused(Charge(self, lease, 0, settled=0), lease.retry_after)

    async def reserve(self, key: str, cost: int) -> Charge:
        """Take points of a bucket.

        Commits a transaction of its own where the lease does not suffice. Where the database does not
        answer, a chunk a second is granted: the limit is not what keeps people out then.

        Raises:
            Refused: the bucket has fewer points.
        """
        lease = self._lease(key)
        if lease.left >= cost and time.monotonic() < lease.until:
            lease.left -= cost
            return Charge(self, lease, cost)
        async with lease.turn:
            now = time.monotonic()
            if lease.left < cost or now >= lease.until:
                if now < lease.refused_until and cost >= lease.refused:
                    raise Refused(Charge(self, lease, cost, settled=0), lease.retry_after)
                await self._renew(lease, cost)
            lease.left -= cost
            return Charge(self, lease, cost)

    def _lease(self, key: str) -> _Lease:
        if (lease := self._leases.get(key)) is None:
            lease = self._leases[key] = _Lease(key, float(self.capacity))
            if len(self._leases) > MAX_LEASES:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease

    async def _found(self, hashed: bytes) -> tuple[UUID, float] | None:
        try:
            async with self._sessions() as session:
                user_id = (await session.execute(_USER, {"hash": hashed})).scalar_one_or_none()
        except (DBAPIError, PoolTimeout, OSError):
            return None
        if user_id is None:
            return None
        known = self._users[hashed] = (user_id, time.monotonic() + LEASE_SECONDS)
        self._users.move_to_end(hashed)
        if len(self._users) > MAX_LEASES:
            self._users.popitem(last=False)
        return known

    async def _renew(self, lease: _Lease, cost: int) -> None:
        """Give back what is left of a lease and take a new one.

        Raises:
            Refused: the bucket has fewer points.
        """
        back, lease.left = lease.left, 0.0
        level, granted = await self._asked(lease.key, need=cost, back=back)
        now = time.monotonic()
        lease.shared, lease.asked_at, lease.until = level, now, now + LEASE_SECONDS
        lease.left += granted
        if granted < cost:
            lease.refused, lease.refused_until = cost, now + PAUSE_SECONDS
            lease.retry_after = (cost - level) / self.restore
            raise Refused(Charge(self, lease, cost, settled=0), lease.retry_after)
        lease.refused_until = 0.0

    async def _asked(self, key: str, *, need: int, back: float) -> tuple[float, float]:
        values = {
            "key": key,
            "need": float(need),
            "back": back,
            "chunk": self.chunk,
            "capacity": float(self.capacity),
            "restore": float(self.restore),
        }
        for attempt in (1, 2):  # the first error of a broken connection empties the pool
            try:
                async with self._sessions.begin() as session:
                    level, granted = (await session.execute(_LEASE, values)).one()
                    return level, granted
            except (DBAPIError, PoolTimeout, OSError) as error:
                if attempt == 2:  # noqa: PLR2004 - the last
                    log.warning("the buckets cannot be read: %s", type(error).__name__)
        await asyncio.sleep(PAUSE_SECONDS)
        return 0.0, max(float(need), self.chunk * PAUSE_SECONDS)


async def purge(session: AsyncSession, *, settings: Settings) -> None:
    """Forget the buckets that are full again."""
    seconds = LEASE_SECONDS + settings.rate_capacity / settings.rate_restore_per_second
    await session.execute(_PURGE, {"seconds": seconds})


@lru_cache(maxsize=MAX_LEASES)
def network(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64 that one customer has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> 64 << 64))
