"""An operation's answers, one after the other: one of a query or mutation, many of a subscription."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar, cast

from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    GraphQLError,
    create_source_event_stream,
    execute_subscription_event,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from resolvers.context import Context
from resolvers.subscriptions import Shown, Source
from schema.build import schema
from schema.execution import admission, unit_of_work
from schema.execution.cost_meter import Meter
from schema.execution.unit_of_work import Answer, Request
from schema.observability import metrics
from schema.types.errors import formatted, masked, shown
from services.access import actor
from services.access.rate_limits import Buckets
from services.core.errors import Problem
from services.core.settings import Settings
from services.live.broadcaster import AWAY, Hub, Stopped
from services.live.event_log import Event

PAUSE_SECONDS = 0.5
GRACE_SECONDS = 5
AnyExecutor = Executor[Any]
T = TypeVar("T")
log = logging.getLogger("commonweal.live")


class Live:
    """What lives as long as the server, for all who follow."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        settings: Settings,
        hub: Hub,
        buckets: Buckets | None = None,
    ) -> None:
        """Follow through a hub; half of the connections to the database stay free for others."""
        self.sessions, self.settings, self.hub, self.buckets = sessions, settings, hub, buckets
        self._connections: Counter[str] = Counter()
        self._at_work: set[asyncio.Task[Any]] = set()
        self._turns = asyncio.Semaphore(max(1, settings.pool_size // 2))

    def admit(self, address: str) -> bool:
        """Count a connection of an address in, unless there are too many; `leave` counts it out."""
        limits = self.settings
        if (
            self.open >= limits.live_connections
            or self._connections[address] >= limits.live_connections_per_address
        ):
            return False
        self._connections[address] += 1
        metrics.LIVE_CONNECTIONS.inc()
        return True

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._connections.total()

    def leave(self, address: str) -> None:
        """Count a connection out."""
        self._connections[address] -= 1
        self._connections += Counter()  # forgets those that have none
        metrics.LIVE_CONNECTIONS.dec()

    async def stop(self) -> None:
        """Send everybody away who follows, and let what runs come to its end."""
        await self.hub.stop()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=GRACE_SECONDS)

    async def require_viewer(self, token: str | None) -> None:
        """Let through nobody's connection, or one whose token is good.

        Raises:
            Unauthenticated: it is not.
        """
        if token is not None:
            async with self.sessions() as session:
                await actor.load(session, token=token)

    async def answers(self, request: Request) -> AsyncGenerator[Answer, None]:
        """Yield each answer; what is no subscription has exactly one.

        Raises:
            Stopped: the server stops; go on elsewhere.
        """
        meter = Meter(self.settings, self.buckets, request.token, request.address)
        if not await admission.is_subscription(request, meter):
            started = time.perf_counter()
            work = unit_of_work.execute(
                request, sessions=self.sessions, settings=self.settings, buckets=self.buckets
            )
            answer = await self._finished(work)
            metrics.note(time.perf_counter() - started, has_errors="errors" in answer.body)
            yield answer
            return
        # To begin is paid for as a query of the same; what follows is not.
        found = await admission.admitted(request, meter, is_streamed=True)
        if isinstance(found, Answer):
            yield found
            return
        document = found[0].document
        assert document is not None
        async with aclosing(self._followed(request, document)) as answers:
            async for answer in answers:
                yield answer

    async def _followed(self, request: Request, document: DocumentNode) -> AsyncGenerator[Answer, None]:
        try:
            found = await self._finished(self._begun(request, document))
        except Problem as problem:
            yield Answer({"errors": [shown(problem)]}, is_request_error=True)
            return
        except AWAY as error:
            yield Answer({"errors": [masked(error)]}, is_request_error=True)
            return
        if isinstance(found, Answer):
            yield found
            return
        executor, source = found
        told: Shown | None = None
        try:
            async for events in source:
                work = self._shown(request, document, executor, source, events, told)
                answers, told = await self._finished(work)
                for answer in answers:
                    yield answer
        except Stopped:
            raise
        except Problem as problem:
            yield Answer({"errors": [shown(problem)]}, is_request_error=True)
        except Exception as fault:  # noqa: BLE001 - masked and logged; the others go on
            yield Answer({"errors": [masked(fault)]}, is_request_error=True)
        finally:
            source.follower.close()

    async def _finished(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if whoever waits leaves: a session in use must not be closed."""
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_let_go)
            raise

    async def _begun(self, request: Request, document: DocumentNode) -> tuple[AnyExecutor, Source] | Answer:
        """Ask whether the viewer may watch, in a snapshot that ends before anything is told."""
        async with self._turns, self._snapshot(request, document) as context:
            executor = _executor(request, document, context)
            if isinstance(executor, list):
                return _refused_by(executor)
            found = create_source_event_stream(executor)
            source: Any = await found if executor.is_awaitable(found) else found
        if isinstance(source, ExecutionResult):
            return _refused_by(source.errors or [])
        return executor, cast("Source", source)

    async def _shown(
        self,
        request: Request,
        document: DocumentNode,
        executor: AnyExecutor,
        source: Source,
        events: list[Event],
        told: Shown | None,
    ) -> tuple[list[Answer], Shown | None]:
        """Show events in one snapshot, those that the viewer may see; again while the database is away.

        Returns what was shown last besides.
        """
        while True:
            try:
                async with self._turns, self._snapshot(request, document) as context:
                    return await _looked_at(executor, context, source, events, told)
            except AWAY as error:
                if self.hub.is_stopped:
                    raise Stopped from None
                log.warning("live events wait for the database: %s", type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    def _snapshot(self, request: Request, document: DocumentNode) -> Any:
        return unit_of_work.snapshot(
            request, document, sessions=self.sessions, settings=self.settings, live=self.hub
        )


def _refused_by(errors: list[GraphQLError]) -> Answer:
    return Answer({"errors": [formatted(error) for error in errors]}, is_request_error=True)


def _executor(request: Request, document: DocumentNode, context: Context) -> AnyExecutor | list[GraphQLError]:
    kind = schema().execution_context_class
    return kind.build(
        schema()._schema,  # noqa: SLF001 - the only way to it
        document,
        context_value=context,
        raw_variable_values=dict(request.variables or {}),
        operation_name=request.operation_name,
    )


async def _looked_at(
    executor: AnyExecutor, context: Context, source: Source, events: list[Event], told: Shown | None
) -> tuple[list[Answer], Shown | None]:
    # All are waited for, whatever becomes of one: the session is theirs until then.
    found = await asyncio.gather(*(source.look(context, event) for event in events), return_exceptions=True)
    answers = []
    for row in found:
        if isinstance(row, BaseException):
            raise row
        if row is not None and not row.repeats(told):
            answers.append(await _executed(executor, context, row))
            told = row
    return answers, told


def _let_go(task: asyncio.Task[Any]) -> None:
    """Follow no more what nobody waits for, and take notice of what went wrong."""
    if task.cancelled() or task.exception() is not None:
        return
    match task.result():
        case (_, Source() as source):
            source.follower.close()


async def _executed(executor: AnyExecutor, context: Context, row: Any) -> Answer:
    """Execute the operation for one event.

    Raises:
        DBAPIError: the database went away meanwhile.
    """
    each = executor.build_per_event_executor(row)
    each.context_value = context
    found = execute_subscription_event(each)
    result: Any = await found if executor.is_awaitable(found) else found
    for error in result.errors or ():
        if isinstance(error.original_error, AWAY):
            raise error.original_error
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [formatted(error) for error in result.errors]
    return Answer(body)
