"""Spans of files, exports, pages and webhooks: named by the route, with nothing of a path or a form."""

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.routing import Route

from schema.observability.route_spans import TracedRoute
from schema.server.app import create_application
from services.core.settings import Settings
from tests.factories import World, public_id, unused_id
from tests.schema.http.test_endpoint_requests import serving, signed
from tests.schema.observability.test_tracing import (
    TRACE,
    TRACEPARENT,
    client,
    execute_as_owner,
    exporter,
    operations,
    owner_of_shared,
    spans,
    statements,
    told,
)

__all__ = ["client", "exporter", "owner_of_shared", "spans"]

WITHOUT = {"/graphql", "/healthz", "/readyz", "/metrics", "/pages.css", "/donate.js", "/"}
"""Routes that are asked all the time, are files of ours, or have spans of another kind."""


def test_every_route_but_files_of_ours_and_probes_is_traced() -> None:
    routes = [route for route in create_application(Settings()).routes if isinstance(route, Route)]
    untraced = {route.path for route in routes if not isinstance(route, TracedRoute)}
    assert {path for path in untraced if not path.startswith("/graphiql")} == WITHOUT
    assert len(routes) > 2 * len(untraced)


async def test_a_file_has_a_span_named_by_its_route(
    client: httpx.AsyncClient, shared: World, spans: InMemorySpanExporter
) -> None:
    answer = await client.get("/receipts/rcp_secret", headers=signed(shared.admin) | TRACEPARENT)
    assert answer.status_code == 404
    assert answer.headers["x-trace-id"] == TRACE
    (request,) = operations(spans)
    assert request.name == "GET /receipts/{id}"
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/receipts/{id}",
        "http.response.status_code": 404,
        "graphql.error.codes": ("NOT_FOUND",),
    }
    assert request.status.status_code is StatusCode.UNSET
    assert "secret" not in told(spans)


async def test_a_page_keeps_its_name_while_it_runs_an_operation(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await client.post("/verify?token=secret", data={"token": "secret"})
    (request,) = operations(spans)
    assert request.name == "POST /verify"
    assert request.attributes
    assert request.attributes["http.response.status_code"] == answer.status_code
    assert request.attributes["graphql.operation.type"] == "mutation"
    assert request.context
    assert answer.headers["x-trace-id"] == f"{request.context.trace_id:032x}"
    assert statements(spans, request)
    assert "secret" not in told(spans)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/donate/secret", "GET /donate/{slug}"),
        ("GET", "/calendar/secret.ics", "GET /calendar/{slug}.ics"),
        ("POST", "/webhooks/secret", "POST /webhooks/{provider}"),
        ("GET", "/sign-in/oidc/secret", "GET /sign-in/oidc/{name}"),
        ("GET", "/export/my-data/secret", "GET /export/my-data/{id}"),
        ("GET", "/export/hours.csv?collective=secret", "GET /export/hours.csv"),
    ],
)
async def test_no_path_and_no_query_is_in_a_span(
    method: str, path: str, name: str, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await client.request(method, path)
    (request,) = operations(spans)
    assert request.name == name
    assert request.attributes
    assert request.attributes["http.response.status_code"] == answer.status_code
    assert len(answer.headers["x-trace-id"]) == 32
    assert "secret" not in told(spans)


async def test_what_the_server_cannot_do_is_a_failed_span(
    shared: World, spans: InMemorySpanExporter, owner_of_shared: str
) -> None:
    path = f"/receipts/{public_id('Receipt', unused_id())}"
    async with serving(shared.settings) as client:
        await execute_as_owner(owner_of_shared, "ALTER TABLE token RENAME TO away")
        try:
            answer = await client.get(path, headers=signed(shared.admin))
        finally:
            await execute_as_owner(owner_of_shared, "ALTER TABLE away RENAME TO token")
    (request,) = operations(spans)
    assert answer.status_code == 500
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes
    assert request.attributes["http.response.status_code"] == 500


@pytest.mark.parametrize(("method", "path"), [("GET", "/healthz"), ("GET", "/secret"), ("PUT", "/receipts")])
async def test_probes_and_what_no_route_serves_have_none(
    method: str, path: str, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    answer = await client.request(method, path)
    assert not spans.get_finished_spans()
    assert "x-trace-id" not in answer.headers
