"""GraphQL over HTTP: a checked request in, one JSON document out."""

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
from schema.http.raw_request import Incoming
from schema.http.request import BadRequest
from schema.observability import logs, metrics, sql_trace
from schema.realtime import sse
from services.core.errors import ErrorCode

log = logging.getLogger("commonweal.http")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STATUS = {persisted_documents.MISMATCH: 400, persisted_documents.NOT_TRUSTED: 403}
SLOW_SECONDS = 1.0
"""An operation that takes longer is written to the log, as are those with errors."""
COMPRESSED_FROM = 1_000
"""Bytes of an answer."""


class Compressed(GZipMiddleware):
    """Compress answers of 1 kB and more for those who take gzip; `gzip;q=0` says that one does not.

    The length of an answer tells no secret to another site: none can make a browser ask with a token, and
    what it makes one ask with the cookie is refused.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        given = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        if "gzip" in given and not content_negotiation.takes_gzip(given):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def answered(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request at this address."""
    response = await reply(raw_request.through_asgi(scope, receive))
    await response(scope, receive, send)


async def reply(request: Incoming) -> Response:
    """Answer a GraphQL POST or GET; show GraphiQL to a browser that asks for a page.

    A fault of ours is logged and masked.
    """
    wish = request.headers.get("accept", "")
    kind = content_negotiation.chosen(wish)
    try:
        if request.method == "GET" and content_negotiation.wants_page(wish):
            return graphiql.page()
        logs.request_id.set(_request_id(request))
        if request.method not in {"GET", "POST"}:
            told = "Send a POST with a JSON body, or a GET of a query"
            return http_response.refused(405, told, kind=kind, allow=b"GET, POST")
        return await _answered(request, kind or _beside_a_stream(request, wish), wish)
    except BadRequest as bad:
        return http_response.refused(bad.status, bad.message, code=bad.code, kind=kind)
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as error:  # noqa: BLE001 - masked and logged
        return http_response.fault(error)


def _beside_a_stream(request: Incoming, wish: str) -> str:
    """Return the type of what is said to one who would have a stream alone, where there is none.

    Raises:
        BadRequest: 406 to others.
    """
    if request.method == "POST" and content_negotiation.wants_events(wish, is_subscription=True):
        return content_negotiation.JSON
    raise BadRequest(406, f"The answer can be {content_negotiation.GRAPHQL} or {content_negotiation.JSON}")


async def _answered(request: Incoming, kind: str, wish: str) -> Response:
    started = time.perf_counter()
    http_request.check_size(request)
    is_get = request.method == "GET"
    asked = http_request.from_address(request) if is_get else await http_request.from_body(request)
    signing = cookie_session.begin(request)
    sql_trace.begin(request.headers)
    try:
        operation = _operation(request, asked, signing)
    except persisted_documents.Unknown as unknown:
        status = _STATUS.get(unknown.code, 400 if kind == content_negotiation.GRAPHQL else 200)
        return http_response.refused(status, unknown.message, code=unknown.code, kind=kind)
    # Few ask for streams: the others are not to be looked at twice.
    if (
        not is_get
        and content_negotiation.EVENTS in wish.lower()
        and await _is_streamed(wish, operation, request)
    ):
        return _stream(request, operation, kind)
    answer = await _run(request, operation)
    if signing.is_to_ask_again(answer):
        answer = await _run(request, replace(operation, token=None))
    _note(asked, answer, time.perf_counter() - started)
    if is_get and asked.document.text is None and "errors" not in answer.body:
        return http_response.fresh(answer, kind, known=request.headers.get("if-none-match", ""))
    response = http_response.of_answer(answer, kind)
    signing.settle(response, answer)
    return response


def _operation(
    request: Incoming, asked: http_request.Asked, signing: cookie_session.Signing
) -> unit_of_work.Request:
    """Return what is to be run.

    Raises:
        Unknown: a document that is not served.
    """
    return unit_of_work.Request(
        query=request.state.persisted.text_of(asked.document),
        variables=asked.variables,
        operation_name=asked.operation_name,
        token=signing.found.token,
        session_cookie=signing.cookie,
        address=request.address,
        reads_only=request.method == "GET",
        takes_written=True,
        tells_cost=http_request.TELL_COST in request.headers,
    )


def _run(request: Incoming, operation: unit_of_work.Request) -> Awaitable[unit_of_work.Answer]:
    """Run an operation, unless its client hangs up."""
    state = request.state
    work = unit_of_work.execute(
        operation, sessions=state.sessions, settings=state.settings, buckets=state.buckets
    )
    return work if request.receive is None else disconnects.unless_gone(request.receive, work)


async def _is_streamed(wish: str, operation: unit_of_work.Request, request: Incoming) -> bool:
    meter = cost_meter.Meter(request.settings, request.state.buckets, operation.token, operation.address)
    return content_negotiation.wants_events(
        wish, is_subscription=await admission.is_subscription(operation, meter)
    )


def _stream(request: Incoming, operation: unit_of_work.Request, kind: str) -> Response:
    live = request.state.live
    if not live.admit(operation.address):
        return http_response.refused(429, "Too many connections", kind=kind, code=ErrorCode.RATE_LIMITED)
    return sse.EventStream(live, operation, headers=http_response.headers(content_negotiation.EVENTS))


def _note(asked: http_request.Asked, answer: unit_of_work.Answer, seconds: float) -> None:
    errors = len(answer.body.get("errors", ()))
    metrics.note(seconds, has_errors=errors > 0)
    # A line for each would be a tenth of the work of a small query: those that went well are for DEBUG.
    level = logging.INFO if errors or seconds > SLOW_SECONDS else logging.DEBUG
    if log.isEnabledFor(level):
        # What no operation can be called is not written down.
        name = asked.operation_name if _NAME.fullmatch(asked.operation_name or "") else None
        told = {"operation": name, "ms": round(seconds * 1000, 2), "errors": errors}
        log.log(level, "operation", extra=told)


def _request_id(request: Incoming) -> str:
    """Return the id that a proxy gave the request if it is a plain one, else a new one."""
    given = request.headers.get("x-request-id")
    if given is not None and _PLAIN_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(64):016x}"  # nothing secret hangs on it
