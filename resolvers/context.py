"""The context of one operation: its viewer, its loaders, and the only way to the database."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
import strawberry
from graphql import DocumentNode
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from dataloaders import Loaders
from resolvers.session_cookie import SessionCookie
from services.access import act_origin, viewer_cache
from services.access.actor import ANONYMOUS, Actor
from services.access.rate_limits import Charge
from services.access.viewer_cache import StaleViewer
from services.core.languages import choose
from services.core.origins import ActOrigin, MailOrigin
from services.core.settings import Settings
from services.database import fetch, leadership, write_connections
from services.database.read_connections import ReadConnection
from services.database.write_connections import HeldConnection
from services.identity import oidc_providers
from services.live.broadcaster import Broadcaster
from services.providers.offered import offered
from services.round_trips import effects
from services.round_trips.operation_session import operation_of
from services.sql_json import payloads
from services.sql_json.payloads import PayloadRead

log = logging.getLogger(__name__)
GRACE_SECONDS = 0.5
"""How long a database may take to roll back or cancel before its connection is cut."""
P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=8)
def anonymous_viewer(settings: Settings) -> Actor:
    """Return the viewer who is nobody, with the providers that the settings offer."""
    modes = tuple((name, provider.livemode) for name, provider in offered(settings).items())
    identity = tuple((p.issuer, p.name, p.label) for p in oidc_providers.parse(settings.oidc_providers))
    return replace(ANONYMOUS, providers=modes, identity_providers=identity)


@dataclass
class Context:
    """The context of one GraphQL operation.

    Sibling fields run concurrently, but a session serves one call at a time: `run` makes them queue.
    """

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    address: str = ""
    """The network address of the client."""
    device: str = ""
    """What the client's browser or program calls itself."""
    language: str = ""
    """What the request accepts, in the words of its header Accept-Language."""
    document: DocumentNode | None = None
    """The executed document, parsed and validated."""
    actor: Actor = ANONYMOUS
    is_viewer_cached: bool = False
    """True if the actor comes from the cache, and what the operation reads has yet to check it."""
    is_mutation: bool = False
    mutation: str = ""
    """The names of the fields at the root of a mutation, with commas."""
    root_field_count: int = 1
    """The number of fields at the root of a mutation; more than one are undone one by one."""
    token: str | None = None
    """The access token of the request."""
    live: Broadcaster | None = None
    """The source of events for subscriptions, if the server has one."""
    session_cookie: SessionCookie = field(default_factory=SessionCookie)
    """Collects what the operation does to the browser's session cookie."""
    charge: Charge | None = None
    """The points of the rate limit that the operation was charged, if they are counted."""
    commit_intents: set[bool] = field(default_factory=set)
    """True for each mutation of the operation that is to be committed, False for each dry run."""
    is_single: bool = False
    """True if the operation is one statement, which is a snapshot by itself."""
    _read_connection: ReadConnection | None = None
    _held_connection: HeldConnection | None = None
    """The connection of a mutation."""
    _session_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _has_begun: bool = False
    _calls: set[asyncio.Future[Any]] = field(default_factory=set)
    _running_task: asyncio.Task[Any] | None = None
    _is_abandoned: bool = False
    is_payload_at_hand: bool = False
    """True if a mutation's selection needs nothing from the database but what the mutation returns."""
    payload_read: PayloadRead | None = None
    """What else its selection needs, if that can be read with the last writes."""
    is_committing: bool = False
    """True if a COMMIT was sent whose answer is not known, or the answer was that it happened."""
    is_cut: bool = False
    """True if the database was silent for so long that the connection was cut."""
    _driver: Any = None

    @cached_property
    def session(self) -> AsyncSession:
        """The session, created on first use: an operation may need no database."""
        return self.sessions()

    def __post_init__(self) -> None:
        """Tell the viewer's rules which payment providers are offered; a viewer from the cache knows."""
        if self.actor is ANONYMOUS:
            self.forget_viewer()

    def forget_viewer(self) -> None:
        """Let the fields that follow have no viewer."""
        self.actor = anonymous_viewer(self.settings)

    @cached_property
    def loaders(self) -> Loaders:
        """The loaders of the operation, created on first use."""
        return Loaders(self.run)

    async def run(
        self,
        service: Callable[Concatenate[AsyncSession, Actor, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service with the session and the viewer, as soon as no other call is running.

        A query reads a snapshot: read only, repeatable read. Cancelling a field because its sibling failed
        does not cancel the statement that it waits for, which would break the connection.
        """
        call = asyncio.ensure_future(self._call(service, *args, **kwargs))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def run_without_viewer(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service whose result is the same for every viewer, as `run` does."""

        async def call(session: AsyncSession, _: Actor) -> T:
            return await service(session, *args, **kwargs)

        return await self.run(call)

    async def _call(
        self,
        service: Callable[Concatenate[AsyncSession, Actor, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async with self._session_lock:
            if self._is_abandoned:
                raise asyncio.CancelledError
            self._running_task = asyncio.current_task()
            try:
                await self._begin()
                if self.is_mutation:
                    origin = MailOrigin(self.actor.id, self.address, self.settings, choose(self.language))
                    operation_of(self.session).mail_origin = origin
                return await service(self.session, self.actor, *args, **kwargs)
            finally:
                self._running_task = None

    def ask_others_first(self) -> None:
        """Let go of a mutation's connection that was waited for: its server may no longer lead."""
        if self._held_connection is not None:
            self._held_connection.ask_others_first()

    async def abandon(self) -> None:
        """Cancel the running call, in the database too, refuse further ones, and wait for the session.

        Cancelling the operation's task is not enough: a loader's batch is a task of its own.
        """
        self._is_abandoned = True
        self.ask_others_first()
        task = self._running_task
        if task is not None and task is not asyncio.current_task() and not task.cancelling():
            task.cancel()
        with self.cut_after(GRACE_SECONDS):
            async with self._session_lock:
                pass

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cut the connection if the block takes longer: whatever the database does, the block ends.

        The database is not asked to cancel anything: a commit goes on, or was never received.
        """
        timer = asyncio.get_running_loop().call_later(seconds, self._cut)
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        """Shut the socket, so that whoever waits for an answer learns that none will come."""
        self.is_cut = True
        if (silent := self._held_connection or self._read_connection) is not None:
            leadership.doubt(silent.origin)
        if self._driver is not None and not self._driver.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(self._driver.fileno())) as connection:
                connection.shutdown(socket.SHUT_RDWR)
        if self._is_abandoned and self._running_task is not None:
            self._running_task.cancel()  # it may be waiting for an answer to its request to cancel

    def is_unconfirmed(self) -> bool:
        """Return True if the commit stopped waiting for a standby: a failover could lose it."""
        is_unconfirmed = self._driver is not None and leadership.take_unconfirmed(self._driver)
        if is_unconfirmed and self._held_connection is not None:
            leadership.doubt(self._held_connection.origin)
        return is_unconfirmed

    async def wait_idle(self) -> None:
        """Wait until nothing uses the session: an operation that ended early may have left calls behind."""
        if "loaders" in vars(self):
            await self.loaders.wait_idle()
        while self._calls:
            await asyncio.wait(self._calls)

    async def _begin(self) -> None:
        if self._has_begun:
            return
        if self.is_mutation:
            self._held_connection = await write_connections.acquire(self.session, self._held_connection)
            self._driver = self._held_connection.driver
            act_origin.attach(self.session, ActOrigin(self.mutation, self.address))
            if self.is_viewer_cached:
                await viewer_cache.check_with_next(self.session, self.actor, seen=self._note_viewer_seen)
            elif self.actor.id is not None:  # a further transaction of a viewer who is known by now
                await act_origin.name_person(
                    self.session,
                    self.actor.id,
                    token_id=self.actor.token_id,
                    token_kind="SESSION" if self.actor.scopes is None else "ACCESS",
                )
        else:
            self._read_connection = await fetch.begin_read(self.session, is_single=self.is_single)
            self._driver = self._read_connection.driver
        self._has_begun = True

    def _note_viewer_seen(self) -> None:
        self.is_viewer_cached = False

    async def check_viewer(self) -> None:
        """Check a mutation's viewer who comes from the cache, unless something it read has done so.

        Raises:
            StaleViewer: the viewer has changed, or the token does not work any more.
        """
        if self.is_mutation and self.is_viewer_cached:
            async with self._session_lock:
                await self._begin()
                await self._settle_viewer()

    async def _settle_viewer(self) -> None:
        """Send the check of the viewer if it waits; a check that was lost counts as failed."""
        await effects.settle(self.session)
        if self.is_viewer_cached:
            raise StaleViewer

    async def close(self) -> None:
        """Return the connection once nothing uses it, and roll back what was not committed."""
        await self.wait_idle()
        self._is_abandoned = True  # a later call would begin a transaction that nobody ends
        # The loaders refer to this context: without the cycle both are freed at once.
        vars(self).pop("loaders", None)
        if "session" not in vars(self):
            return
        try:
            with self.cut_after(GRACE_SECONDS):
                await self._return_connection()
        except DBAPIError:
            log.info("a broken connection was dropped")
        finally:
            self._read_connection = self._driver = None

    async def _return_connection(self) -> None:
        try:
            if self.session.in_transaction():
                await self.session.close()
            await effects.roll_back(self.session)
        finally:
            await self._release_held()
            if self._read_connection is not None:
                await fetch.end_read(self._read_connection)

    async def _release_held(self) -> None:
        if (held := self._held_connection) is not None:
            self._held_connection = None
            await write_connections.release(self.session, held)

    async def release(self) -> bool:
        """Return the connection before waiting for something else; return False if that is not possible.

        Only before the operation's first write: what was read is kept, what follows reads afresh.
        """
        if self.root_field_count > 1:
            return False
        await self.check_viewer()  # later, it would take a connection again
        async with self._session_lock:
            if self._has_begun:
                await effects.commit(self.session)
                self._has_begun = False
            await self._release_held()
        return True

    async def in_own_transaction(
        self,
        service: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a service in a transaction of its own, which is committed even if the operation fails."""
        await self.check_viewer()
        async with self.sessions() as session, session.begin():
            if self.is_mutation:
                act_origin.attach(session, ActOrigin(self.mutation, self.address))
            return await service(session, *args, **kwargs)

    @asynccontextmanager
    async def undone_on_error(self, *, whole: bool) -> AsyncIterator[None]:
        """Roll back the block's writes if an error leaves it.

        `whole` rolls back the whole transaction, which saves the two statements of a savepoint; for a block
        that is all that the operation does.
        """
        if whole:
            try:
                yield
            except asyncio.CancelledError:
                raise  # the operation ends, and who ends it waits no longer for the database than it must
            except BaseException:
                await self.roll_back()
                raise
            return
        async with self._session_lock:
            await self._begin()
            savepoint = await self.session.begin_nested()
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            async with self._session_lock:
                await savepoint.rollback()
                act_origin.forget_name(self.session)
            raise
        async with self._session_lock:
            await savepoint.commit()

    async def read_payload(self, outcome: object) -> bool:
        """Read what a mutation's payload needs with the writes that wait; return False if it is read later.

        Raises:
            SqlJsonUnavailable: when they are sent, if graphql-core has to run the mutation.
        """
        if self.payload_read is None or not isinstance(outcome, Mapping):
            return self.is_payload_at_hand
        bound = self.payload_read.bind(outcome)
        if bound is None:
            return True
        async with self._session_lock:
            if not self._has_begun:
                return False
            await payloads.read_at_end(self.session, self.actor, bound=bound, into=self.payload_read)
            return True

    async def commit(self) -> None:
        """Commit with the writes that wait, in one round trip, for a mutation that reads nothing more.

        Who cancels it learns what became of it: the statements are cancelled, unless it was stored. The
        connection is released afterwards, so that the cancellation meets nobody else's statement.
        """
        async with self._session_lock:
            if self._has_begun and self.is_viewer_cached:
                await self._settle_viewer()
            self.is_committing = True
            task = asyncio.ensure_future(effects.store(self.session))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            try:
                with self.cut_after(self.settings.commit_timeout_ms / 1000):
                    await asyncio.shield(task)
            except asyncio.CancelledError:
                await self._cancel_commit(task)
                error = task.exception()
                if error is not None:
                    if effects.is_in_doubt(self.session):
                        raise error from None
                    raise
            finally:
                is_stored = task.done() and not task.cancelled() and task.exception() is None
                self._has_begun = not is_stored
                self.is_committing = is_stored or effects.is_in_doubt(self.session)
            await effects.commit(self.session)

    async def _cancel_commit(self, task: asyncio.Future[None]) -> None:
        """Ask the database to cancel what it still runs, and wait for its answer."""
        if task.done():
            return
        try:
            with self.cut_after(GRACE_SECONDS):
                with suppress(psycopg.Error):
                    await self._driver.cancel_safe(timeout=GRACE_SECONDS)
                await asyncio.wait([task])
        except asyncio.CancelledError:
            self._cut()  # cancelled twice: nobody waits any more, and the task ends by itself
            raise

    @property
    def is_in_transaction(self) -> bool:
        """True from the first call of a service until what it wrote is committed or undone."""
        return self._has_begun

    async def settle(self) -> None:
        """Send the writes that wait if what others wrote before may make them void."""
        async with self._session_lock:
            if self._has_begun:
                await effects.settle(self.session)

    async def flush(self) -> None:
        """Send the writes that wait, so that what the database has against them is known."""
        async with self._session_lock:
            if self._has_begun:
                await effects.flush(self.session)

    async def roll_back(self) -> None:
        """Undo what the operation wrote; what it does next is a transaction of its own."""
        async with self._session_lock:
            await effects.roll_back(self.session)
            self._has_begun = False


Info = strawberry.Info[Context, None]
