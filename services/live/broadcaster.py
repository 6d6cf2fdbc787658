"""One reader of live events a process, and those who follow: nobody's backlog grows beyond a bound.

Who falls behind loses nothing: what waited for them is dropped, and read from the database again, from where
they are.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.access.actor import token_hash
from services.core.errors import Unauthenticated
from services.live import event_log
from services.live.event_log import Event, Position, Start, Topic

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 100
"""Events that wait for one follower."""
MAX_READ = 1_000
MAX_TAKEN = 20
"""Events handed out at once: they are shown in one snapshot."""
TOKEN_CHECK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
AWAY = (DBAPIError, PoolTimeout, OSError)

log = logging.getLogger("commonweal.live")


class Stopped(Exception):
    """The server stops: whoever follows may go on elsewhere, from their position."""


class Follower:
    """One who watches a topic."""

    def __init__(self, hub: "Hub", topic: Topic, *, start: Start, token: str | None) -> None:
        """Watch from a start on."""
        self.topic = topic
        self.token_hash = token_hash(token) if token is not None else None
        self._hub = hub
        self._position, self._seen = start
        """Every event up to here was handed out, or is not about the topic."""
        self._waiting: deque[Event] = deque()
        self._is_behind = True
        self._news = asyncio.Event()
        self._end: Exception | None = None

    def tell(self, event: Event) -> None:
        """Note an event."""
        if self._is_behind or event.position <= self._position or self._seen.includes(event.position):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.clear()
            self._is_behind = True
        else:
            self._waiting.append(event)
        self._news.set()

    def end(self, reason: Exception) -> None:
        """Let `take` raise this, now and ever."""
        self._end = self._end or reason
        self._news.set()

    async def take(self) -> list[Event]:
        """Wait for events; return the next ones, in order.

        Raises:
            Problem: the token holds no more, or what is to be read is not kept any more.
            Stopped: the server stops.
        """
        while True:
            self._news.clear()
            if self._end is not None:
                raise self._end
            if self._is_behind:
                found = await self._caught_up()
            else:
                found = [self._waiting.popleft() for _ in range(min(MAX_TAKEN, len(self._waiting)))]
                self._position = found[-1].position if found else max(self._position, self._hub.position)
            if found:
                return [replace(event, seen=self._seen) for event in found]
            if not self._is_behind and not self._waiting:
                await self._news.wait()

    async def _caught_up(self) -> list[Event]:
        """Read what was missed; what is told meanwhile comes after that."""
        until = self._hub.position
        self._waiting.clear()
        self._is_behind = False
        if self._position >= until:
            return []
        try:
            found, end = await self._hub.look_back(
                event_log.since, topic=self.topic, after=self._position, until=until, count=MAX_TAKEN
            )
        except AWAY:
            self._is_behind = True
            await asyncio.sleep(self._hub.pause_seconds)
            return []
        self._position = max(self._position, end)
        if end < until:
            self._waiting.clear()
            self._is_behind = True
        return [event for event in found if not self._seen.includes(event.position)]

    def close(self) -> None:
        """Follow no more."""
        self._hub.drop(self)


class Hub:
    """What this process knows of live events. It asks the database only while somebody follows."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, pause_ms: int) -> None:
        """Read through these sessions, so often."""
        self.pause_seconds = pause_ms / 1000
        self.position = Position(0, 0)
        """Every event up to here has been told."""
        self._sessions = sessions
        self._followers: defaultdict[Topic, set[Follower]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._looking_back = asyncio.Semaphore(1)
        self.is_stopped = False

    def __len__(self) -> int:
        """Return how many follow."""
        return sum(map(len, self._followers.values()))

    async def follow(self, topic: Topic, *, after: Start | None, token: str | None) -> Follower:
        """Return a follower of a topic, from now on or from a start.

        Raises:
            Invalid: the start is not one of this server.
            InvalidState: it is older than what is kept.
            Stopped: the server stops.
        """
        if after is not None:
            await self.look_back(event_log.require_kept, after)
        start = await self.look_back(event_log.mark) if after is None else after
        async with self._starting:
            if self.is_stopped:
                raise Stopped
            if self._reader is None:
                self.position = (await self.read(event_log.mark)).position
                self._reader = asyncio.create_task(self._run())
            follower = Follower(self, topic, start=start, token=token)
            self._followers[topic].add(follower)
        return follower

    def drop(self, follower: Follower) -> None:
        """Tell somebody nothing more."""
        found = self._followers.get(follower.topic, set())
        found.discard(follower)
        if not found:
            self._followers.pop(follower.topic, None)

    async def stop(self) -> None:
        """Send everybody away, and read no more."""
        self.is_stopped = True
        for follower in self._every():
            follower.end(Stopped())
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def read(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service in a snapshot of its own."""
        async with self._sessions() as session:
            return await service(session, *args, **kwargs)

    async def look_back(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service for one who comes back, one at a time: the reader is not to wait for them."""
        async with self._looking_back:
            return await self.read(service, *args, **kwargs)

    def _every(self) -> list[Follower]:
        return [follower for found in self._followers.values() for follower in found]

    async def _run(self) -> None:
        """Read and tell until nobody follows. A database that is away is asked again; nothing is lost."""
        clock = asyncio.get_running_loop().time
        pause, check_at = self.pause_seconds, 0.0
        try:
            while self._followers:
                try:
                    is_all = await self._tell_news()
                    if clock() >= check_at:
                        await self._check_tokens()
                        check_at = clock() + TOKEN_CHECK_SECONDS
                    pause = self.pause_seconds if is_all else 0
                except AWAY as error:
                    log.warning("live events cannot be read: %s", type(error).__name__)
                    pause = min(max(pause, self.pause_seconds) * 2, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        except Exception as fault:
            log.exception("the reader of live events failed")
            for follower in self._every():
                follower.end(fault)
        finally:
            self._reader = None

    async def _tell_news(self) -> bool:
        """Tell what is new; return whether that was all."""
        events, end = await self.read(event_log.news, after=self.position, count=MAX_READ)
        for event in events:
            for topic in event.topics:
                for follower in self._followers.get(topic, ()):
                    follower.tell(event)
        self.position = end
        return len(events) < MAX_READ

    async def _check_tokens(self) -> None:
        """End what is followed by a token that was revoked or has expired."""
        by_token = [(f, f.token_hash) for f in self._every() if f.token_hash is not None]
        if not by_token:
            return
        good = await self.read(event_log.good_tokens, hashes={given for _, given in by_token})
        for follower, given in by_token:
            if given not in good:
                follower.end(Unauthenticated("The token is not valid any more; sign in again"))
