"""Spans of operations, statements and jobs: they tell what ran and how it ended, and nobody's data."""

import asyncio
import gzip
import io
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import orjson
import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from schema.documents.document_cache import hash_text
from schema.http import cookie_session
from schema.observability import logs
from services.core import tracing
from services.core.errors import Unauthenticated, Unavailable
from tests.conftest import MakeDatabase
from tests.factories import World
from tests.job_world import execute
from tests.live_server import run_server
from tests.schema.http.test_endpoint_requests import post, serving, signed
from tests.services.jobs.test_worker import DONE, plan, scalar, until, working
from tests.subscription_client import POSITION, connect_client, serve_in_process

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
FIND = "query Find($s: String!) { collective(slug: $s) { name balances { currency } } }"
TOLD = 'subscription Told { transactionPosted(collective: {slug: "commonweal"}) { position } }'
RENAME = "mutation Rename($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }"


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """Return what keeps the spans of this file's servers."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.stop()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    """Return it without the spans of other tests."""
    exporter.clear()
    return exporter


@pytest.fixture(scope="module")
async def client(shared: World, exporter: InMemorySpanExporter) -> AsyncIterator[httpx.AsyncClient]:
    exporter.clear()
    async with serving(shared.settings) as client:
        yield client


def operations(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.kind.name == "SERVER"]


def statements(exporter: InMemorySpanExporter, of: ReadableSpan) -> list[ReadableSpan]:
    finished = exporter.get_finished_spans()
    return [
        span for span in finished if span.parent and of.context and span.parent.span_id == of.context.span_id
    ]


def told(exporter: InMemorySpanExporter) -> str:
    """Return everything that was noted, as a collector gets it."""
    return "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_an_operation_has_a_span_and_its_statements_theirs(
    client: httpx.AsyncClient, shared: World, spans: InMemorySpanExporter
) -> None:
    body = {"query": FIND, "variables": {"s": "commonweal"}}
    answer = await post(client, body, **signed(shared.admin))
    (operation,) = operations(spans)
    assert operation.name == "query Find"
    assert operation.attributes == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Find",
        "graphql.document.hash": hash_text(FIND),
    }
    assert operation.status.status_code is StatusCode.UNSET
    assert operation.context
    assert answer.headers["x-trace-id"] == f"{operation.context.trace_id:032x}"
    sent = statements(spans, operation)
    assert sent, "who asks, and what is read"
    assert {span.name for span in sent} <= {"SELECT", "WITH", "INSERT", "UPDATE"}
    assert all(span.kind.name == "CLIENT" and span.attributes for span in sent)
    assert all("commonweal'" not in str(span.attributes) for span in sent)
    assert shared.admin.token not in told(spans)


async def test_the_callers_trace_is_continued(client: httpx.AsyncClient, spans: InMemorySpanExporter) -> None:
    answer = await post(client, {"query": "{ __typename }"}, **TRACEPARENT)
    (operation,) = operations(spans)
    assert answer.headers["x-trace-id"] == TRACE
    assert operation.parent
    assert f"{operation.parent.span_id:016x}" == CALLER
    wrong = await post(client, {"query": "{ __typename }"}, traceparent="00-zz-1-01")
    assert len(wrong.headers["x-trace-id"]) == 32
    assert wrong.headers["x-trace-id"] != TRACE


async def test_a_trace_that_its_caller_does_not_record_makes_no_spans(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await post(
        client, {"query": FIND, "variables": {"s": "x"}}, traceparent=f"00-{TRACE}-{CALLER}-00"
    )
    assert answer.headers["x-trace-id"] == TRACE
    assert not spans.get_finished_spans()


async def test_codes_of_a_payload_are_noted_and_values_are_not(
    client: httpx.AsyncClient, shared: World, spans: InMemorySpanExporter
) -> None:
    values = {"collective": {"slug": "nowhere-secret"}, "name": "Secret name"}
    answer = await post(client, {"query": RENAME, "variables": {"i": values}}, **signed(shared.admin))
    assert answer.json()["data"]["updateCollective"]["errors"] == [{"code": "NOT_FOUND"}]
    (operation,) = operations(spans)
    assert operation.attributes
    assert operation.attributes["graphql.error.codes"] == ("NOT_FOUND",)
    assert operation.status.status_code is StatusCode.UNSET, "no fault of the server"
    assert "ecret" not in told(spans)


async def test_a_refused_document_and_a_bad_request_have_spans_too(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await post(client, {"query": "{ nothing }"})
    await post(client, {"quarry": "{}"})
    refused, unread = operations(spans)
    assert refused.name == unread.name == "graphql"
    assert refused.attributes
    assert refused.attributes["graphql.error.codes"] == ("BAD_REQUEST",)
    assert refused.attributes["graphql.document.hash"] == hash_text("{ nothing }")


async def test_a_request_that_is_refused_before_it_runs_has_its_code(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await post(client, {"quarry": "{}"})
    (operation,) = operations(spans)
    assert operation.attributes == {"graphql.error.codes": ("BAD_REQUEST",)}


def test_an_answer_is_no_failure_and_a_thrown_away_attempt_leaves_no_code(
    spans: InMemorySpanExporter,
) -> None:
    assert tracing.switch.spans is not None
    with pytest.raises(Unauthenticated), tracing.switch.spans.operation(None):
        raise Unauthenticated
    with pytest.raises(Unavailable), tracing.switch.spans.operation(None):
        raise Unavailable
    with tracing.switch.spans.operation(None):
        tracing.note_code("UNAVAILABLE")
        tracing.forget_codes()
        tracing.note_code("NOT_FOUND")
    answered, away, repeated = operations(spans)
    for span, code, status in (
        (answered, "UNAUTHENTICATED", StatusCode.UNSET),
        (away, "UNAVAILABLE", StatusCode.ERROR),
        (repeated, "NOT_FOUND", StatusCode.UNSET),
    ):
        assert (span.attributes, span.status.status_code) == ({"graphql.error.codes": (code,)}, status)


async def test_a_fault_that_nobody_expected_is_noted(
    client: httpx.AsyncClient, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cookie_session, "begin", None)
    assert (await post(client, {"query": "{ __typename }"})).status_code == 500
    (operation,) = operations(spans)
    assert operation.attributes == {"graphql.error.codes": ("INTERNAL_SERVER_ERROR",)}
    assert operation.status.status_code is StatusCode.ERROR


async def test_a_database_that_says_no_ends_spans_as_failed(
    shared: World, spans: InMemorySpanExporter, owner_of_shared: str
) -> None:
    async with serving(shared.settings) as client:
        await execute_as_owner(owner_of_shared, "ALTER TABLE collective RENAME TO away")
        try:
            await post(client, {"query": FIND, "variables": {"s": "other-secret"}})
        finally:
            await execute_as_owner(owner_of_shared, "ALTER TABLE away RENAME TO collective")
    (operation,) = operations(spans)
    assert operation.status.status_code is StatusCode.ERROR
    assert operation.attributes
    assert operation.attributes["graphql.error.codes"] == ("INTERNAL_SERVER_ERROR",)
    assert StatusCode.ERROR in {span.status.status_code for span in statements(spans, operation)}
    assert "other-secret" not in told(spans)
    assert not any(span.events for span in spans.get_finished_spans()), "messages may hold values"


@pytest.fixture
def owner_of_shared(shared: World) -> str:
    return shared.settings.owner_database_url


async def execute_as_owner(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


async def test_log_lines_name_the_trace(
    client: httpx.AsyncClient, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logs.JsonFormatter())
    log = logging.getLogger("commonweal.http")
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "commonweal.http"):
            answer = await post(client, {"query": "{ nothing }"}, **TRACEPARENT)
    finally:
        log.removeHandler(handler)
    (operation,) = operations(spans)
    assert operation.context
    lines = [orjson.loads(line) for line in handler.stream.getvalue().splitlines()]
    (line,) = [line for line in lines if line["message"] == "operation"]
    assert line["traceId"] == answer.headers["x-trace-id"] == TRACE
    assert line["spanId"] == f"{operation.context.span_id:016x}"


async def test_streams_name_their_trace_and_each_answer_has_a_span(
    shared: World, spans: InMemorySpanExporter
) -> None:
    async with serve_in_process(shared.settings) as api, connect_client(api) as client:
        await client.subscribe(POSITION, "1")
        answer = await client.receive()
        (operation,) = operations(spans)
        assert operation.name == "query"
        assert operation.context
        assert answer["payload"]["extensions"]["traceId"] == f"{operation.context.trace_id:032x}"
        await client.receive()
        spans.clear()
        await client.subscribe(TOLD, "2")
        async with asyncio.timeout(30):
            while not operations(spans):
                await asyncio.sleep(0.01)
        assert operations(spans)[0].name == "subscription Told"


async def test_jobs_have_spans_which_say_how_they_ended(
    world: World, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        await execute(engine_sessions, "SELECT 7")

    async def fail() -> None:
        raise OSError("secret")

    engine_sessions = world.sessions
    plan(monkeypatch, periodic={"good": work, "bad": fail})
    async with working(world.settings):
        await until(partial(scalar, world.sessions, DONE, name="good"))
        await until(partial(scalar, world.sessions, "SELECT count(*) FROM jobs.failure"))
    named = {span.name: span for span in spans.get_finished_spans()}
    good, bad = named["job good"], named["job bad"]
    assert good.attributes
    assert bad.attributes
    assert (good.attributes["job.name"], good.attributes["job.attempt"]) == ("good", 1)
    assert good.status.status_code is StatusCode.UNSET
    assert bad.status.status_code is StatusCode.ERROR
    assert bad.attributes["error.type"] == "OSError"
    assert [span.name for span in statements(spans, good)] == ["SELECT"]
    assert "secret" not in told(spans)


async def test_what_nobody_asked_for_has_no_spans(shared: World, spans: InMemorySpanExporter) -> None:
    async with serving(shared.settings) as client:
        await client.get("/readyz")
        await asyncio.sleep(0)
    assert not spans.get_finished_spans()


@pytest.fixture
def nothing_started() -> Iterator[None]:
    """Leave the spans of this file as they are."""
    kept = tracing.switch.spans
    tracing.switch.spans = None
    yield
    tracing.switch.spans = kept


@pytest.mark.parametrize("variable", tracing.ENDPOINT_VARIABLES)
def test_without_the_extra_one_line_says_so(
    variable: str,
    nothing_started: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert nothing_started is None
    monkeypatch.delitem(sys.modules, "services.core.span_sending", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    tracing.start({variable: "http://collector:4318"}, kind="server")
    (record,) = [record for record in caplog.records if record.name == "commonweal.tracing"]
    assert record.getMessage() == (
        f"{variable} is set, but no spans are sent: install commonweal with its extra `otel`"
    )
    assert tracing.switch.spans is None


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_starts_unless_the_variables_ask_for_it(
    environ: dict[str, str], nothing_started: None
) -> None:
    assert nothing_started is None
    tracing.start(environ, kind="server")
    assert tracing.switch.spans is None


class _Collector(BaseHTTPRequestHandler):
    """Takes spans as a collector does, and keeps them."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        request = ExportTraceServiceRequest.FromString(body)
        vars(self.server)["received"].append((self.path, request))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_server_sends_its_spans_as_the_standard_variables_say(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as collector:
        received: list[tuple[str, ExportTraceServiceRequest]] = []
        vars(collector)["received"] = received
        Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-commonweal")
        with run_server(make_database(), tmp_path, worker="none") as server:
            answer = httpx.post(server.url, json={"query": POSITION}, headers=TRACEPARENT, trust_env=False)
            assert answer.headers["x-trace-id"] == TRACE
        collector.shutdown()
    assert {path for path, _ in received} == {"/v1/traces"}, "what waited was sent at the end"
    groups = [group for _, request in received for group in request.resource_spans]
    named = {entry.key: entry.value.string_value for entry in groups[0].resource.attributes}
    assert (named["service.name"], named["commonweal.process"]) == ("our-commonweal", "server")
    spans = [span for group in groups for scope in group.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert "query" in {span.name for span in spans}


def test_a_collector_that_is_away_costs_no_answer(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with run_server(make_database(), tmp_path, worker="none") as server:
        answer = httpx.post(server.url, json={"query": POSITION}, trust_env=False)
    assert "errors" not in answer.json()
    assert "Traceback" not in server.log.read_text()
