"""Run operations that stream: one result for a query or mutation, many for a subscription."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
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
from resolvers.subscriptions import EventPayload, EventSource
from schema.build import graphql_schema, schema
from schema.documents import suggestions
from schema.execution import admission, unit_of_work
from schema.execution.cost_meter import Meter
from schema.execution.unit_of_work import OperationRequest, OperationResult
from schema.observability import metrics, operation_spans
from schema.realtime.shared_answers import Answers, SharedAnswers, affordable_batches, cost_of
from schema.types.errors import format_error, mask_error, to_response_error
from services.access import actor
from services.access.rate_limits import Buckets
from services.core.errors import Problem
from services.core.networks import normalize_address
from services.core.settings import Settings
from services.live.broadcaster import DATABASE_ERRORS, Broadcaster, ServerStopping
from services.live.event_log import Event

PAUSE_SECONDS = 0.5
GRACE_SECONDS = 5
AnyExecutor = Executor[Any]
T = TypeVar("T")
log = logging.getLogger("commonweal.live")


class SubscriptionRunner:
    """Runs the subscriptions of the whole server; it lives as long as the application."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        settings: Settings,
        broadcaster: Broadcaster,
        buckets: Buckets | None = None,
    ) -> None:
        """Subscribe through a broadcaster; use at most half of the database connections at once."""
        self.sessions, self.settings, self.broadcaster, self.buckets = (
            sessions,
            settings,
            broadcaster,
            buckets,
        )
        self._connections: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answers = SharedAnswers()
        self._snapshot_slots = asyncio.Semaphore(max(1, settings.pool_size // 2))

    def open_connection(self, address: str) -> bool:
        """Register a connection of an address, for IPv6 of its network; return False beyond a limit."""
        limits, address = self.settings, normalize_address(address)
        if (
            self.connection_count >= limits.live_connections
            or self._connections[address] >= limits.live_connections_per_address
        ):
            return False
        self._connections[address] += 1
        metrics.LIVE_CONNECTIONS.inc()
        return True

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return self._connections.total()

    def close_connection(self, address: str) -> None:
        """Unregister a connection that `open_connection` registered."""
        self._connections[normalize_address(address)] -= 1
        self._connections += Counter()  # drops addresses with a count of zero
        metrics.LIVE_CONNECTIONS.dec()

    async def stop(self) -> None:
        """End all subscriptions, and wait for running work to finish."""
        await self.broadcaster.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)

    async def require_viewer(self, token: str | None) -> None:
        """Require that a token, if there is one, is valid.

        Raises:
            Unauthenticated: it is not.
        """
        if token is not None:
            async with self.sessions() as session:
                await actor.load(session, token=token)

    async def stream_results(self, request: OperationRequest) -> AsyncGenerator[OperationResult, None]:
        """Yield the results of an operation; a query or mutation has exactly one.

        Raises:
            ServerStopping: the server stops; the client should reconnect.
        """
        meter = Meter(self.settings, self.buckets, request.token, request.address)
        if not await admission.is_subscription(request, meter):
            started = time.perf_counter()
            execution = unit_of_work.execute(
                request, sessions=self.sessions, settings=self.settings, buckets=self.buckets
            )
            with operation_spans.within(request.caller):
                result = await self._run_to_completion(execution)
                operation_spans.note_errors(result.body)
                result.body = operation_spans.with_trace_id(result.body)
            metrics.record_operation(time.perf_counter() - started, has_errors="errors" in result.body)
            yield result
            return
        # Starting a subscription costs as much as the same query, and so does each answer.
        prepared = await admission.admit(request, meter, is_streamed=True)
        if isinstance(prepared, OperationResult):
            yield prepared
            return
        async with aclosing(self._stream(request, prepared.document, meter)) as results:
            async for result in results:
                yield result

    async def _stream(
        self, request: OperationRequest, document: DocumentNode, meter: Meter
    ) -> AsyncGenerator[OperationResult, None]:
        try:
            opened = await self._run_to_completion(self._open_source(request, document))
        except Problem as problem:
            yield OperationResult({"errors": [to_response_error(problem)]}, is_request_error=True)
            return
        except DATABASE_ERRORS as error:
            yield OperationResult({"errors": [mask_error(error)]}, is_request_error=True)
            return
        if isinstance(opened, OperationResult):
            yield opened
            return
        source = opened[1]
        previous: EventPayload | None = None
        try:
            async for batch in source:
                async for payload, result in self._answer(request, document, opened, batch, meter):
                    if not payload.repeats(previous):
                        yield result
                    previous = payload
        except ServerStopping:
            raise
        except Problem as problem:
            yield OperationResult({"errors": [to_response_error(problem)]}, is_request_error=True)
        except Exception as error:  # noqa: BLE001 - masked and logged; other subscriptions go on
            yield OperationResult({"errors": [mask_error(error)]}, is_request_error=True)
        finally:
            source.subscriber.close()

    async def _answer(
        self,
        request: OperationRequest,
        document: DocumentNode,
        opened: tuple[AnyExecutor, EventSource],
        batch: list[Event],
        meter: Meter,
    ) -> AsyncGenerator[tuple[EventPayload, OperationResult], None]:
        """Yield the answers to events; each is charged before it is computed."""
        for events in affordable_batches(batch, meter):
            await meter.reserve_answers(len(events))

            def compute(events: list[Event] = events) -> Coroutine[Any, Any, Answers]:
                return self._run_to_completion(self._compute_answers(request, document, *opened, events))

            shared = await self._answers.get(request, events, compute)
            meter.refund_answers(cost_of(shared, meter))
            for answer in shared.answers:
                yield answer

    async def _run_to_completion(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish the work even if its consumer leaves, because a session in use must not be closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_close_abandoned)
            raise

    async def _open_source(
        self, request: OperationRequest, document: DocumentNode
    ) -> tuple[AnyExecutor, EventSource] | OperationResult:
        """Check that the viewer may subscribe, in a snapshot that ends before the first event."""
        async with self._snapshot(request, document) as context:
            executor = _build_executor(request, document, context)
            if isinstance(executor, list):
                return self._refusal(executor)
            stream = create_source_event_stream(executor)
            source: Any = await stream if executor.is_awaitable(stream) else stream
        if isinstance(source, ExecutionResult):
            return self._refusal(source.errors or [])
        return executor, cast("EventSource", source)

    async def _compute_answers(
        self,
        request: OperationRequest,
        document: DocumentNode,
        executor: AnyExecutor,
        source: EventSource,
        events: list[Event],
    ) -> Answers:
        """Return the answers to the events that the viewer may see, all from one snapshot.

        Retries while the database is unavailable.
        """
        while True:
            try:
                async with self._snapshot(request, document) as context:
                    answers = await _visible_answers(executor, context, source, events)
                    for _, result in answers:
                        operation_spans.note_errors(result.body)
                if self.settings.are_suggestions_hidden:
                    for _, result in answers:
                        suggestions.hide(result.body.get("errors", ()))
            except DATABASE_ERRORS as error:
                if self.broadcaster.is_stopped:
                    raise ServerStopping from None
                log.warning("live events wait for the database: %s", type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return answers

    def _refusal(self, errors: list[GraphQLError]) -> OperationResult:
        formatted = [format_error(error) for error in errors]
        if self.settings.are_suggestions_hidden:
            suggestions.hide(formatted)
        return OperationResult({"errors": formatted}, is_request_error=True)

    @asynccontextmanager
    async def _snapshot(self, request: OperationRequest, document: DocumentNode) -> AsyncIterator[Context]:
        """Yield a context for one answer, which has a slot and a span of its own."""
        with operation_spans.within(request.caller):
            operation_spans.label_streamed(request.query, document, request.operation_name)
            snapshot = unit_of_work.snapshot(
                request, document, sessions=self.sessions, settings=self.settings, live=self.broadcaster
            )
            async with self._snapshot_slots, snapshot as context:
                yield context


def _build_executor(
    request: OperationRequest, document: DocumentNode, context: Context
) -> AnyExecutor | list[GraphQLError]:
    executor_class = schema().execution_context_class
    return executor_class.build(
        graphql_schema(),
        document,
        context_value=context,
        raw_variable_values=dict(request.variables or {}),
        operation_name=request.operation_name,
    )


async def _visible_answers(
    executor: AnyExecutor, context: Context, source: EventSource, events: list[Event]
) -> Answers:
    # Wait for all of them even if one fails: they share the session.
    loads = (source.load_event(context, event) for event in events)
    payloads = await asyncio.gather(*loads, return_exceptions=True)
    answers: Answers = []
    for payload in payloads:
        if isinstance(payload, BaseException):
            raise payload
        if payload is not None and not (answers and payload.repeats(answers[-1][0])):
            answers.append((payload, await _execute_event(executor, context, payload)))
    return answers


def _close_abandoned(task: asyncio.Task[Any]) -> None:
    """Close the source that an abandoned task opened; retrieve its exception if it failed."""
    if task.cancelled() or task.exception() is not None:
        return
    match task.result():
        case (_, EventSource() as source):
            source.subscriber.close()


async def _execute_event(executor: AnyExecutor, context: Context, payload: EventPayload) -> OperationResult:
    """Execute the operation for one event.

    Raises:
        DBAPIError: the database became unavailable.
    """
    event_executor = executor.build_per_event_executor(payload)
    event_executor.context_value = context
    execution = execute_subscription_event(event_executor)
    result: Any = await execution if executor.is_awaitable(execution) else execution
    for error in result.errors or ():
        if isinstance(error.original_error, DATABASE_ERRORS):
            raise error.original_error
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [format_error(error) for error in result.errors]
    return OperationResult(body)
