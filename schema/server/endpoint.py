"""The GraphQL endpoint over HTTP: from a raw request to a response."""

import logging
import random
import re
import time
from collections.abc import Awaitable
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schema import graphiql
from schema.documents import persisted_documents
from schema.execution import admission, cost_meter, unit_of_work
from schema.http import content_negotiation, cookie_session, disconnects, raw_request
from schema.http import request as http_request
from schema.http import response as http_response
from schema.http.raw_request import RawRequest
from schema.http.request import BadRequest
from schema.observability import logs, metrics, operation_spans, sql_trace
from schema.realtime import sse
from services.core import tracing
from services.core.errors import ErrorCode

log = logging.getLogger("commonweal.http")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STATUS = {persisted_documents.MISMATCH: 400, persisted_documents.NOT_TRUSTED: 403}
SLOW_SECONDS = 1.0
"""Operations that take longer are logged, as are those with errors."""
COMPRESS_FROM_BYTES = 1_000
"""Shorter bodies are not compressed."""


class Gzip(GZipMiddleware):
    """Compress responses of 1 kB and more for clients that accept gzip; `gzip;q=0` declines it.

    The compressed length leaks no secret to another site: no site can make a browser send the token, and
    requests it makes with the cookie are refused.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with compression if the client accepts it."""
        header = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        if "gzip" in header and not content_negotiation.accepts_gzip(header):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def asgi_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve GraphQL requests as an ASGI application."""
    response = await handle(raw_request.from_scope(scope, receive))
    await response(scope, receive, send)


async def handle(request: RawRequest) -> Response:
    """Handle a GraphQL POST or GET; return the GraphiQL page to a browser.

    Unexpected errors are logged and masked.
    """
    with operation_spans.within(operation_spans.caller_of(request.headers)):
        return await _handle(request)


async def _handle(request: RawRequest) -> Response:
    accept = request.headers.get("accept", "")
    media_type = content_negotiation.negotiate(accept)
    try:
        if request.method == "GET" and content_negotiation.wants_page(accept):
            return graphiql.page()
        logs.request_id.set(_request_id(request))
        if request.method not in {"GET", "POST"}:
            message = "Send a POST with a JSON body, or a GET of a query"
            return http_response.error_response(405, message, media_type=media_type, allow=b"GET, POST")
        return await _handle_operation(request, media_type or _error_media_type(request, accept), accept)
    except BadRequest as error:
        return http_response.error_response(
            error.status, error.message, code=error.code, media_type=media_type
        )
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as error:  # noqa: BLE001 - masked and logged
        return http_response.internal_error(error)


def _error_media_type(request: RawRequest, accept: str) -> str:
    """Return the media type of an error for a client that accepts event streams only.

    Raises:
        BadRequest: 406: the client accepts nothing that we can send.
    """
    if request.method == "POST" and content_negotiation.wants_events(accept, is_subscription=True):
        return content_negotiation.JSON
    raise BadRequest(406, f"Accept {content_negotiation.GRAPHQL} or {content_negotiation.JSON}")


async def _handle_operation(request: RawRequest, media_type: str, accept: str) -> Response:
    started = time.perf_counter()
    http_request.check_size(request)
    is_get = request.method == "GET"
    params = (
        http_request.params_from_query(request) if is_get else await http_request.params_from_body(request)
    )
    session = cookie_session.begin(request)
    sql_trace.begin(request.headers)
    try:
        operation = _operation_request(request, params, session)
    except persisted_documents.DocumentNotServed as error:
        status = _STATUS.get(error.code, 400 if media_type == content_negotiation.GRAPHQL else 200)
        return http_response.error_response(status, error.message, code=error.code, media_type=media_type)
    # The substring test spares the many clients without streams a second look at their document.
    if (
        not is_get
        and content_negotiation.EVENTS in accept.lower()
        and await _is_streamed(accept, operation, request)
    ):
        return _stream(request, operation, media_type)
    result = await _run(request, operation)
    if session.should_retry_anonymously(result):
        tracing.forget_codes()
        result = await _run(request, replace(operation, token=None))
    operation_spans.note_errors(result.body)
    _record(params, result, time.perf_counter() - started)
    if is_get and params.document.text is None and "errors" not in result.body:
        if_none_match = request.headers.get("if-none-match", "")
        return http_response.cacheable_response(result, media_type, if_none_match=if_none_match)
    response = http_response.operation_response(result, media_type)
    session.write_cookie(response, result)
    return response


def _operation_request(
    request: RawRequest, params: http_request.GraphQLParams, session: cookie_session.CookieSession
) -> unit_of_work.OperationRequest:
    """Build the request of the operation.

    Raises:
        DocumentNotServed: the document is not served.
    """
    return unit_of_work.OperationRequest(
        query=request.state.persisted_documents.resolve_text(params.document),
        variables=params.variables,
        operation_name=params.operation_name,
        token=session.credentials.token,
        session_cookie=session.cookie,
        address=request.address,
        device=request.headers.get("user-agent", ""),
        language=request.headers.get("accept-language", ""),
        is_read_only=request.method == "GET",
        reports_cost=http_request.COST_HEADER in request.headers,
        caller=operation_spans.current(),
    )


def _run(
    request: RawRequest, operation: unit_of_work.OperationRequest
) -> Awaitable[unit_of_work.OperationResult]:
    """Run an operation, and cancel it if its client disconnects."""
    state = request.state
    execution = unit_of_work.execute(
        operation, sessions=state.sessions, settings=state.settings, buckets=state.buckets
    )
    if request.receive is None:
        return execution
    return disconnects.cancel_on_disconnect(request.receive, execution)


async def _is_streamed(accept: str, operation: unit_of_work.OperationRequest, request: RawRequest) -> bool:
    meter = cost_meter.Meter(request.settings, request.state.buckets, operation.token, operation.address)
    return content_negotiation.wants_events(
        accept, is_subscription=await admission.is_subscription(operation, meter)
    )


def _stream(request: RawRequest, operation: unit_of_work.OperationRequest, media_type: str) -> Response:
    subscriptions = request.state.subscriptions
    if not subscriptions.open_connection(operation.address):
        return http_response.error_response(
            429, "Too many connections", media_type=media_type, code=ErrorCode.RATE_LIMITED
        )
    return sse.EventStream(
        subscriptions, operation, headers=http_response.uncached_headers(content_negotiation.EVENTS)
    )


def _record(params: http_request.GraphQLParams, result: unit_of_work.OperationResult, seconds: float) -> None:
    errors = len(result.body.get("errors", ()))
    metrics.record_operation(seconds, has_errors=errors > 0)
    # A line per operation would be a tenth of the work of a small query, so successes are logged at DEBUG.
    level = logging.INFO if errors or seconds > SLOW_SECONDS else logging.DEBUG
    if log.isEnabledFor(level):
        # Only valid operation names reach the log.
        name = params.operation_name if _NAME.fullmatch(params.operation_name or "") else None
        fields = {"operation": name, "ms": round(seconds * 1000, 2), "errors": errors}
        log.log(level, "operation", extra=fields)


def _request_id(request: RawRequest) -> str:
    """Return the request id from the proxy if it is well formed, else a new one."""
    proxied = request.headers.get("x-request-id")
    if proxied is not None and _PLAIN_ID.fullmatch(proxied):
        return proxied
    return f"{random.getrandbits(64):016x}"  # no secret depends on it
