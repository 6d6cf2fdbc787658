"""What an operation carries: its viewer, its loaders, and the one way to the database."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

import strawberry
from graphql import DocumentNode
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from dataloaders import Loaders
from resolvers.session_cookie import SessionCookie
from services.access.actor import ANONYMOUS, Actor
from services.access.rate_limits import Charge
from services.core.settings import Settings
from services.database import fetch, read_connections
from services.database.read_connections import Reader
from services.live.broadcaster import Hub

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Context:
    """One GraphQL operation. Sibling fields run at once, a session does not: `run` makes them queue."""

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    address: str = ""
    """The network address that asks."""
    document: DocumentNode | None = None
    """What is executed, parsed and validated."""
    actor: Actor = ANONYMOUS
    is_mutation: bool = False
    root_fields: int = 1
    token: str | None = None
    live: Hub | None = None
    """What subscriptions follow."""
    demo: bool = False
    """Whether the demo world is being made: short passwords are then allowed."""
    session_cookie: SessionCookie = field(default_factory=SessionCookie)
    """What the operation does to the browser's session cookie."""
    charge: Charge | None = None
    """The points that the operation took, where they are counted."""
    stored: set[bool] = field(default_factory=set)
    """Which of True (to be kept) and False (dry runs) the operation's mutations asked for."""
    is_single: bool = False
    """Whether one statement reads all: it is a snapshot of its own."""
    columns: Mapping[Any, frozenset[str]] | None = None
    """The columns that a query shows, by table; a table that is not named is read whole."""
    writing: fetch.Writing | None = None
    """How PostgreSQL writes the rows that the query is about, if it does."""
    _reading: Reader | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _begun: bool = False
    _calls: set[asyncio.Future[Any]] = field(default_factory=set)
    _runner: asyncio.Task[Any] | None = None
    _abandoned: bool = False

    @cached_property
    def session(self) -> AsyncSession:
        """The session, made when it is first used: an operation may do without a database."""
        return self.sessions()

    @cached_property
    def loaders(self) -> Loaders:
        """What loads by keys, made when it is first used; it lives as long as the operation."""
        return Loaders(self.run)

    async def run(
        self,
        service: Callable[Concatenate[AsyncSession, Actor, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service with the session and the viewer, when no other call is running.

        A query gets a snapshot: read only, repeatable read. A field that is ended because another failed
        does not end the statement that it waits for, which would break the connection.
        """
        call = asyncio.ensure_future(self._call(service, *args, **kwargs))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _call(
        self,
        service: Callable[Concatenate[AsyncSession, Actor, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async with self._turn:
            if self._abandoned:
                raise asyncio.CancelledError
            self._runner = asyncio.current_task()
            try:
                await self._begin()
                return await service(self.session, self.actor, *args, **kwargs)
            finally:
                self._runner = None

    async def abandon(self) -> None:
        """Stop what runs, and let nothing more run: a loader's batch is a task that its waiters do not own.

        Returns when the session is free. The statement that ran is cancelled in the database, too.
        """
        self._abandoned = True
        runner = self._runner
        if runner is not None and runner is not asyncio.current_task() and not runner.cancelling():
            runner.cancel()
        async with self._turn:
            pass

    async def settled(self) -> None:
        """Wait until nothing uses the session: an operation that ended early may have left calls."""
        if "loaders" in vars(self):
            await self.loaders.settled()
        while self._calls:
            await asyncio.wait(self._calls)

    async def _begin(self) -> None:
        if self._begun:
            return
        if self.is_mutation:
            await read_connections.make_room(self.session)
            await self.session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        else:
            self._reading = await fetch.begin(
                self.session, is_single=self.is_single, columns=self.columns, writing=self.writing
            )
        self._begun = True

    async def close(self) -> None:
        """Give the connection back once nothing uses it; what was not committed is undone."""
        await self.settled()
        self._abandoned = True  # what comes later would begin anew, and nobody would end it
        if "loaders" in vars(self):
            self.loaders.forget()
        if "session" not in vars(self):
            return
        try:
            try:
                if self.session.in_transaction():
                    await self.session.close()
            finally:
                if self._reading is not None:
                    await fetch.end(self._reading)
        except DBAPIError:
            log.info("a broken connection was dropped")
        finally:
            self._reading = None

    async def aside(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service in a database transaction of its own, kept whatever becomes of the operation."""
        async with self.sessions() as session, session.begin():
            return await service(session, *args, **kwargs)

    @asynccontextmanager
    async def step(self, *, alone: bool) -> AsyncIterator[None]:
        """Undo what is written inside if an error leaves it.

        `alone` says that nothing else of the operation is to be kept: the whole database transaction ends,
        which spares the two statements of a savepoint.
        """
        if alone:
            try:
                yield
            except BaseException:
                await self._undo()
                raise
            return
        async with self._turn:
            await self._begin()
            savepoint = await self.session.begin_nested()
        try:
            yield
        except BaseException:
            async with self._turn:
                await savepoint.rollback()
            raise
        async with self._turn:
            await savepoint.commit()

    async def _undo(self) -> None:
        async with self._turn:
            await self.session.rollback()
            self._begun = False


Info = strawberry.Info[Context, None]
