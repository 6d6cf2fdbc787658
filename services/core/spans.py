"""Spans by OpenTelemetry: what ran, for how long, and how it ended.

They hold names, hashes, error codes and the text of statements, which is ours. Variables, values, addresses
and messages of errors never get into one.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Engine, event

from services.core.errors import Problem

CODES = "graphql.error.codes"
FAULTS = frozenset({"INTERNAL_SERVER_ERROR", "UNAVAILABLE", "TIMEOUT"})
"""Codes that are the server's fault; a span with one of them has failed."""
_FIRST_FAULT = 500
"""Lowest HTTP status that is the server's fault."""
STOP_SECONDS = 3.0
MAX_STATEMENTS = 1_000
"""Statements of one operation or job that get a span."""

_Statements = dict[int, Span]
_statements: ContextVar["_Counted | None"] = ContextVar("span_statements", default=None)


class _Counted:
    """What an operation, a request or a job has done: its statements and error codes."""

    def __init__(self, *, is_operation: bool) -> None:
        self.is_operation = is_operation
        self.running: _Statements = {}  # by cursor
        self.count = 0
        self.codes: dict[str, None] = {}  # in their order


class Spans:
    """Makes the spans of this process."""

    def __init__(self, provider: TracerProvider) -> None:
        """Make them with this provider, which samples, keeps and sends them."""
        self._provider = provider
        self._tracer = provider.get_tracer("commonweal")

    def stop(self) -> None:
        """Send what waits, for a few seconds at most: a collector may be away."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(STOP_SECONDS)

    def caller(self, headers: Mapping[str, str]) -> Context:
        """Return the trace that a request belongs to, by its `traceparent`."""
        return propagate.extract(headers)

    def current(self) -> Context:
        """Return the trace that this task works in."""
        return get_current()

    @contextmanager
    def operation(self, caller: Context | None, *, name: str = "graphql") -> Iterator[None]:
        """Run an operation within a span, which continues the caller's trace."""
        with self._span(name, SpanKind.SERVER, caller):
            yield

    @contextmanager
    def route(self, caller: Context | None, *, method: str, pattern: str) -> Iterator[None]:
        """Run a request of a route other than GraphQL's within a span, which continues the caller's trace."""
        attributes = {"http.request.method": method, "http.route": pattern}
        with self._span(f"{method} {pattern}", SpanKind.SERVER, caller, attributes, is_operation=False):
            yield

    def note_status(self, status: int) -> None:
        """Note the status of a response in the request's span."""
        span = trace.get_current_span()
        span.set_attribute("http.response.status_code", status)
        if status >= _FIRST_FAULT:
            span.set_status(StatusCode.ERROR)

    @contextmanager
    def job(self, name: str, *, job_id: int | None, attempt: int) -> Iterator[None]:
        """Run a job within a span."""
        attributes: dict[str, str | int] = {"job.name": name, "job.attempt": attempt, "job.id": job_id or 0}
        with self._span(f"job {name}", SpanKind.CONSUMER, None, attributes, is_operation=False):
            yield

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        caller: Context | None,
        attributes: Mapping[str, str | int] | None = None,
        *,
        is_operation: bool = True,
    ) -> Iterator[None]:
        counted = _Counted(is_operation=is_operation)
        token = _statements.set(counted)
        try:
            # An exception's message may hold somebody's values: only its kind is noted.
            with self._tracer.start_as_current_span(
                name, caller, kind, attributes, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    yield
                except Exception as error:
                    if kind is SpanKind.SERVER and isinstance(error, Problem):
                        counted.codes[error.code] = None  # an answer to its client
                    else:
                        span.set_attribute("error.type", type(error).__name__)
                        span.set_status(StatusCode.ERROR)
                    raise
                finally:
                    _end_broken_off(counted)
                    _set_codes(span, counted)
        finally:
            _statements.reset(token)

    def label(self, *, name: str, attributes: Mapping[str, str]) -> None:
        """Name the span that runs; that of a page or job which runs an operation keeps its name."""
        span = trace.get_current_span()
        if (counted := _statements.get()) is not None and counted.is_operation:
            span.update_name(name)
        span.set_attributes(dict(attributes))

    def note_codes(self, codes: Iterable[str]) -> None:
        """Note error codes in the operation or job that runs."""
        if (counted := _statements.get()) is not None:
            counted.codes |= dict.fromkeys(codes)

    def forget_codes(self) -> None:
        """Forget the error codes of an attempt that is thrown away."""
        if (counted := _statements.get()) is not None:
            counted.codes.clear()

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of the trace and of the span that run, as hex."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)

    def listen(self, engine: Engine) -> None:
        """Make a span of each statement that an operation or a job sends by this engine."""
        event.listen(engine, "before_cursor_execute", self._begin_statement)
        event.listen(engine, "after_cursor_execute", self._end_statement)
        event.listen(engine, "handle_error", self._fail_statement)

    def _begin_statement(self, _: Any, cursor: Any, statement: str, *__: Any) -> None:
        counted = _statements.get()
        if counted is None or counted.count >= MAX_STATEMENTS or not trace.get_current_span().is_recording():
            return
        counted.count += 1
        counted.running[id(cursor)] = self._tracer.start_span(
            statement.split(None, 1)[0].upper() if statement.strip() else "statement",
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "db.query.text": statement},
        )

    def _end_statement(self, _: Any, cursor: Any, *__: Any) -> None:
        self.end_statement(cursor)

    def _fail_statement(self, context: Any) -> None:
        if context.execution_context is not None:  # the context itself has no cursor
            self.end_statement(context.execution_context.cursor, is_failed=True)

    def end_statement(self, cursor: object, *, is_failed: bool = False) -> None:
        """End the span of a statement."""
        counted = _statements.get()
        span = counted.running.pop(id(cursor), None) if counted is not None else None
        if span is not None:
            if is_failed:
                span.set_status(StatusCode.ERROR)
            span.end()


def _end_broken_off(counted: _Counted) -> None:
    """End the spans of statements that still run; their own end comes too late, if it comes."""
    while counted.running:
        _, span = counted.running.popitem()
        span.set_status(StatusCode.ERROR)
        span.end()


def _set_codes(span: Span, counted: _Counted) -> None:
    if counted.codes:
        span.set_attribute(CODES, list(counted.codes))
    if not FAULTS.isdisjoint(counted.codes):
        span.set_status(StatusCode.ERROR)
