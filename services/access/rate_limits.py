"""Rate limits: one bucket of points per user, or per network address of anonymous callers.

A bucket is a row shared by all server processes. A process leases points from it in chunks and spends them
from memory, so that most operations need no statement. Only leased points are ever spent.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.access import actor
from services.core.errors import RateLimited
from services.core.networks import normalize_address
from services.core.settings import Settings
from services.core.sql_files import read_clauses

LEASE_SECONDS = 10
CHUNKS_PER_BUCKET = 20
"""A process leases at most a full bucket divided by this number beyond what an operation needs."""
SILENT_SECONDS = 5
"""Time after which a database that does not answer is taken to be away."""
PAUSE_SECONDS = 0.1
"""Time for which an empty bucket is not queried again."""
MAX_LEASES = 10_000
"""Leases of one process; beyond this the least recently used is dropped, with its remaining points."""

_SQL = read_clauses(Path(__file__).parent / "sql" / "rate_limits.sql")
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class _Lease:
    """Points of a bucket that a process can spend from memory."""

    key: str
    bucket_level: float
    """Points left in the bucket when points were last leased from it."""
    points_left: float = 0.0
    leased_at: float = 0.0
    expires_at: float = 0.0
    refused_cost: float = math.inf
    """Cost that the bucket could not cover; operations of this cost fail at once until `refused_until`."""
    refused_until: float = 0.0
    retry_after_seconds: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Charge:
    """Points reserved by an operation, and the state of its bucket."""

    buckets: "Buckets"
    lease: _Lease
    cost: int
    final_cost: int | None = None

    def refund_unused(self, actual_cost: int) -> None:
        """Return the points that were not used; only the first call has an effect."""
        if self.final_cost is None:
            self.final_cost = min(actual_cost, self.cost)
            self.lease.points_left += self.cost - self.final_cost

    @property
    def limit(self) -> int:
        """Points of a full bucket."""
        return self.buckets.capacity

    @property
    def restore_per_second(self) -> int:
        """Points restored per second."""
        return self.buckets.restore_per_second

    @property
    def remaining(self) -> int:
        """Points in the bucket, as far as this process knows."""
        lease = self.lease
        restored = (time.monotonic() - lease.leased_at) * self.restore_per_second
        return max(0, min(self.limit, int(lease.points_left + lease.bucket_level + restored)))

    def reset_seconds(self, remaining: int) -> int:
        """Return the seconds until a bucket with so many points is full."""
        return math.ceil((self.limit - remaining) / self.restore_per_second)


class InsufficientPoints(RateLimited):
    """Rate limit exceeded; try again later."""

    def __init__(self, charge: Charge, retry_after_seconds: float) -> None:
        """Keep the charge and the time to wait, in whole seconds."""
        super().__init__()
        self.charge, self.retry_after_seconds = charge, max(1, math.ceil(retry_after_seconds))


class Buckets:
    """The buckets as one process sees them, through its leases. Used by one event loop."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], settings: Settings) -> None:
        """Start without leases."""
        self.capacity, self.restore_per_second = settings.rate_capacity, settings.rate_restore_per_second
        self.chunk = self.capacity / CHUNKS_PER_BUCKET
        self._sessions = sessions
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._users: OrderedDict[bytes, tuple[UUID, float]] = OrderedDict()
        self._late: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._leases)

    async def bucket_key(self, *, token: str | None, address: str) -> str | None:
        """Return the key of the bucket to charge: the token's user, or the network address.

        An invalid token is charged to the address. An empty address stands for this process, which is not
        limited: None.
        """
        if token is not None:
            token_hash = actor.hash_token(token)
            cached = self._users.get(token_hash)
            if cached is None or cached[1] < time.monotonic():
                cached = await self._load_user_id(token_hash)
            if cached is not None:
                return f"user:{cached[0]}"
        return f"address:{normalize_address(address)}" if address else None

    def raise_if_empty(self, key: str) -> None:
        """Check from memory alone that a bucket was not empty a moment ago.

        Raises:
            InsufficientPoints: the bucket was empty.
        """
        lease = self._leases.get(key)
        if lease is not None and lease.points_left < 1 and time.monotonic() < lease.refused_until:
            raise InsufficientPoints(Charge(self, lease, 0, final_cost=0), lease.retry_after_seconds)

    async def reserve(self, key: str, cost: int) -> Charge:
        """Reserve points of a bucket.

        Commits a transaction of its own if the lease does not suffice. While the database is away, a chunk is
        granted per second, so that an outage does not look like a rate limit.

        Raises:
            InsufficientPoints: the bucket has fewer points.
        """
        lease = self._find_lease(key)
        if lease.points_left >= cost and time.monotonic() < lease.expires_at:
            lease.points_left -= cost
            return Charge(self, lease, cost)
        async with lease.lock:
            now = time.monotonic()
            if lease.points_left < cost or now >= lease.expires_at:
                if now < lease.refused_until and cost >= lease.refused_cost:
                    raise InsufficientPoints(
                        Charge(self, lease, cost, final_cost=0), lease.retry_after_seconds
                    )
                await self._renew(lease, cost)
            lease.points_left -= cost
            return Charge(self, lease, cost)

    def _find_lease(self, key: str) -> _Lease:
        if (lease := self._leases.get(key)) is None:
            lease = self._leases[key] = _Lease(key, float(self.capacity))
            if len(self._leases) > MAX_LEASES:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease

    async def _load_user_id(self, token_hash: bytes) -> tuple[UUID, float] | None:
        """Load and cache the user of a valid token, with the time until which the cache holds it."""
        try:
            user_id = await self._wait_briefly(self._read_user_id(token_hash))
        except (DBAPIError, PoolTimeout, OSError):
            return None
        if user_id is None:
            return None
        cached = self._users[token_hash] = (user_id, time.monotonic() + LEASE_SECONDS)
        self._users.move_to_end(token_hash)
        if len(self._users) > MAX_LEASES:
            self._users.popitem(last=False)
        return cached

    async def _read_user_id(self, token_hash: bytes) -> UUID | None:
        async with self._sessions() as session:
            result = await session.execute(_SQL["user_of_token"], {"token_hash": token_hash})
            user_id: UUID | None = result.scalar_one_or_none()
            return user_id

    async def _wait_briefly(self, reading: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer of the database, but not for one that is silent: requests wait behind it.

        What is late ends by itself; to cancel it would wait for the database again.

        Raises:
            TimeoutError: of SQLAlchemy; the answer did not come in time.
        """
        task = asyncio.ensure_future(reading)
        self._late.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=SILENT_SECONDS)
        if not done:
            raise PoolTimeout("The database does not answer")
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that nobody complains that it was not

    async def _renew(self, lease: _Lease, cost: int) -> None:
        """Return the unused points of a lease and lease new ones.

        Raises:
            InsufficientPoints: the bucket has fewer points.
        """
        returned, lease.points_left = lease.points_left, 0.0
        level, granted = await self._lease_points(lease.key, need=cost, returned=returned)
        now = time.monotonic()
        lease.bucket_level, lease.leased_at, lease.expires_at = level, now, now + LEASE_SECONDS
        lease.points_left += granted
        if granted < cost:
            lease.refused_cost, lease.refused_until = cost, now + PAUSE_SECONDS
            lease.retry_after_seconds = (cost - level) / self.restore_per_second
            raise InsufficientPoints(Charge(self, lease, cost, final_cost=0), lease.retry_after_seconds)
        lease.refused_until = 0.0

    async def _lease_points(self, key: str, *, need: int, returned: float) -> tuple[float, float]:
        """Return the bucket's new level and the points granted."""
        parameters = {
            "key": key,
            "need": float(need),
            "returned": returned,
            "chunk": self.chunk,
            "capacity": float(self.capacity),
            "restore": float(self.restore_per_second),
        }
        for is_last in (False, True):  # the first error of a broken connection empties the pool
            try:
                return await self._wait_briefly(self._lease_in_database(parameters))
            except (DBAPIError, PoolTimeout, OSError) as error:
                if is_last or isinstance(error, PoolTimeout):
                    log.warning("Cannot read the rate-limit buckets: %s", type(error).__name__)
                    break
        await asyncio.sleep(PAUSE_SECONDS)
        return 0.0, max(float(need), self.chunk * PAUSE_SECONDS)

    async def _lease_in_database(self, parameters: dict[str, Any]) -> tuple[float, float]:
        async with self._sessions.begin() as session:
            level, granted = (await session.execute(_SQL["lease_points"], parameters)).one()
            return level, granted


async def delete_full_buckets(session: AsyncSession, *, settings: Settings) -> None:
    """Delete the buckets that are full again."""
    seconds = LEASE_SECONDS + settings.rate_capacity / settings.rate_restore_per_second
    await session.execute(_SQL["delete_full_buckets"], {"seconds": seconds})
