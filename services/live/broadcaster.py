"""Delivery of live events: one reader per process, and subscribers with bounded queues.

A subscriber that falls behind loses nothing: its queue is dropped, and its events are read from the database
again, from its position on.
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

from services.access.actor import hash_token
from services.core.errors import InvalidState, Unauthenticated
from services.live import event_log
from services.live.event_log import Event, Position, ResumePoint, Topic

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 100
"""Queue length of a subscriber."""
MAX_READ = 1_000
MAX_BATCH = 20
"""Events delivered at once, resolved in one snapshot."""
TOKEN_CHECK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
DATABASE_ERRORS = (DBAPIError, PoolTimeout, OSError)

log = logging.getLogger("commonweal.live")


class ServerStopping(Exception):
    """The server is stopping; subscribers can resume elsewhere from their position."""


class Subscriber:
    """A subscription to a topic, with its queue of events."""

    def __init__(
        self, broadcaster: "Broadcaster", topic: Topic, *, start: ResumePoint, token: str | None
    ) -> None:
        """Start at a resume point."""
        self.topic = topic
        self.token_hash = hash_token(token) if token is not None else None
        self._broadcaster = broadcaster
        self._position, self._snapshot, self._epoch = start
        """Every event up to here was delivered, or is not about the topic."""
        self._queue: deque[Event] = deque()
        self._is_behind = True
        self._changed = asyncio.Event()
        self._end: Exception | None = None

    def offer(self, event: Event) -> None:
        """Queue an event, unless it was delivered or seen already."""
        if self._is_behind or event.position <= self._position or self._snapshot.includes(event.position):
            return
        if len(self._queue) >= MAX_WAITING:
            self._queue.clear()
            self._is_behind = True
        else:
            self._queue.append(event)
        self._changed.set()

    def end(self, reason: Exception) -> None:
        """Make `next_batch` raise the reason, now and from then on."""
        self._end = self._end or reason
        self._changed.set()

    async def next_batch(self) -> list[Event]:
        """Wait for events and return the next ones, in order.

        Raises:
            Problem: the token is no longer valid, or the events to read were deleted already.
            ServerStopping: the server is stopping.
        """
        while True:
            self._changed.clear()
            if self._end is not None:
                raise self._end
            if self._is_behind:
                events = await self._catch_up()
            else:
                events = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
                self._position = (
                    events[-1].position if events else max(self._position, self._broadcaster.position)
                )
            if events:
                return [replace(event, snapshot=self._snapshot) for event in events]
            if not self._is_behind and not self._queue:
                await self._changed.wait()

    async def _catch_up(self) -> list[Event]:
        """Read the missed events; those offered in the meantime come after them."""
        until = self._broadcaster.position
        self._queue.clear()
        self._is_behind = False
        if self._position >= until:
            return []
        try:
            events, end = await self._broadcaster.read_history(
                event_log.topic_events,
                topic=self.topic,
                after=self._position,
                until=until,
                epoch=self._epoch,
                count=MAX_BATCH,
            )
        except DATABASE_ERRORS:
            self._is_behind = True
            await asyncio.sleep(self._broadcaster.pause_seconds)
            return []
        self._position = max(self._position, end)
        if end < until:
            self._queue.clear()
            self._is_behind = True
        return [event for event in events if not self._snapshot.includes(event.position)]

    def close(self) -> None:
        """End the subscription."""
        self._broadcaster.unsubscribe(self)


class Broadcaster:
    """The subscribers of one process, and the reader that runs only while there are any."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, pause_ms: int) -> None:
        """Read events through these sessions, at this interval."""
        self.pause_seconds = pause_ms / 1000
        self.position = Position(0, 0)
        """Every event up to here was broadcast."""
        self._epoch = 0
        self._sessions = sessions
        self._subscribers: defaultdict[Topic, set[Subscriber]] = defaultdict(set)
        self._reader_task: asyncio.Task[None] | None = None
        self._start_lock = asyncio.Lock()
        self._history_semaphore = asyncio.Semaphore(1)
        self.is_stopped = False

    def __len__(self) -> int:
        """Return the number of subscribers."""
        return sum(map(len, self._subscribers.values()))

    async def subscribe(self, topic: Topic, *, after: ResumePoint | None, token: str | None) -> Subscriber:
        """Subscribe to a topic, from a resume point or from now on.

        Raises:
            Invalid: the resume point is not from this server.
            InvalidState: events after the resume point were deleted already, or a failover lay between.
            ServerStopping: the server is stopping.
        """
        if after is not None:
            await self.read_history(event_log.require_kept, after)
        start = await self.read_history(event_log.current_position) if after is None else after
        async with self._start_lock:
            if self.is_stopped:
                raise ServerStopping
            if self._reader_task is None:
                await self._begin_epoch()
                self._reader_task = asyncio.create_task(self._run())
            subscriber = Subscriber(self, topic, start=start, token=token)
            self._subscribers[topic].add(subscriber)
        return subscriber

    async def _begin_epoch(self) -> None:
        """Broadcast from now on, on the timeline that the server has now."""
        start = await self.read_in_session(event_log.current_position)
        self.position, self._epoch = start.position, start.epoch

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        subscribers = self._subscribers.get(subscriber.topic, set())
        subscribers.discard(subscriber)
        if not subscribers:
            self._subscribers.pop(subscriber.topic, None)

    async def stop(self) -> None:
        """End every subscription and the reader."""
        self.is_stopped = True
        for subscriber in self._all_subscribers():
            subscriber.end(ServerStopping())
        if self._reader_task is not None:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)

    async def read_in_session(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service in a session of its own."""
        async with self._sessions() as session:
            return await service(session, *args, **kwargs)

    async def read_history(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service for a subscriber, one at a time, so that the reader need not wait."""
        async with self._history_semaphore:
            return await self.read_in_session(service, *args, **kwargs)

    def _all_subscribers(self) -> list[Subscriber]:
        return [subscriber for group in self._subscribers.values() for subscriber in group]

    async def _run(self) -> None:
        """Broadcast until nobody is subscribed. Database errors are retried, and lose no event."""
        clock = asyncio.get_running_loop().time
        pause, check_at = self.pause_seconds, 0.0
        try:
            while self._subscribers:
                try:
                    is_complete = await self._broadcast_in_epoch()
                    if clock() >= check_at:
                        await self._end_invalid_tokens()
                        check_at = clock() + TOKEN_CHECK_SECONDS
                    pause = self.pause_seconds if is_complete else 0
                except DATABASE_ERRORS as error:
                    log.warning("Cannot read live events: %s", type(error).__name__)
                    pause = min(max(pause, self.pause_seconds) * 2, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        except Exception as error:
            log.exception("The reader of live events failed")
            for subscriber in self._all_subscribers():
                subscriber.end(error)
        finally:
            self._reader_task = None

    async def _broadcast_in_epoch(self) -> bool:
        """Broadcast new events; after a failover end the subscriptions, whose next events cannot be told."""
        try:
            return await self._broadcast_new_events()
        except InvalidState as problem:
            for subscriber in self._all_subscribers():
                subscriber.end(problem)
            await self._begin_epoch()
            return True

    async def _broadcast_new_events(self) -> bool:
        """Broadcast new events; return True if there are no more."""
        events, end = await self.read_in_session(
            event_log.events_after, after=self.position, epoch=self._epoch, count=MAX_READ
        )
        for event in events:
            for topic in event.topics:
                for subscriber in self._subscribers.get(topic, ()):
                    subscriber.offer(event)
        self.position = end
        return len(events) < MAX_READ

    async def _end_invalid_tokens(self) -> None:
        """End the subscriptions whose token was revoked or has expired."""
        by_token = [(s, s.token_hash) for s in self._all_subscribers() if s.token_hash is not None]
        if not by_token:
            return
        valid = await self.read_in_session(
            event_log.load_valid_token_hashes, hashes={token_hash for _, token_hash in by_token}
        )
        for subscriber, token_hash in by_token:
            if token_hash not in valid:
                subscriber.end(Unauthenticated("The token is no longer valid; sign in again."))
