"""GraphQL over HTTP: a checked request in, one JSON document out."""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson
from starlette.datastructures import Headers, State
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schema import (
    accept,
    admission,
    executing,
    explain,
    graphiql,
    hanging_up,
    http_request,
    http_signing,
    logs,
    metering,
    metrics,
    persisted,
    sse,
    unit_of_work,
)
from schema.errors import masked
from schema.http_request import BadRequest
from services.errors import ErrorCode

log = logging.getLogger("commonweal.http")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STATUS = {persisted.MISMATCH: 400, persisted.NOT_TRUSTED: 403}
SLOW_SECONDS = 1.0
"""An operation that takes longer is written to the log, as are those with errors."""
_FRESH = "private, max-age=0, must-revalidate"


class Compressed(GZipMiddleware):
    """Compress answers of 1 kB and more for those who take gzip; `gzip;q=0` says that one does not.

    The length of an answer tells no secret to another site: none can make a browser ask with a token, and
    what it makes one ask with the cookie is refused.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        given = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        if "gzip" in given and not accept.takes_gzip(given):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def answered(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request at this address; a fault of ours is logged and masked."""
    try:
        response = await endpoint(Request(scope, receive, send))
    except Exception as fault:  # noqa: BLE001 - masked and logged
        response = Response(orjson.dumps({"errors": [masked(fault)]}), 500, _headers(accept.JSON, 500))
    await response(scope, receive, send)


async def endpoint(request: Request) -> Response:
    """Answer a GraphQL POST or GET; show GraphiQL to a browser that asks for a page."""
    wish = ",".join(request.headers.getlist("accept"))
    if request.method == "GET" and accept.wants_page(wish):
        return graphiql.page()
    logs.request_id.set(_request_id(request))
    streams = request.method == "POST" and accept.wants_events(wish, is_subscription=True)
    kind = accept.chosen(wish) or (accept.JSON if streams else None)
    try:
        if request.method not in {"GET", "POST"}:
            return _refused(
                405, "Send a POST with a JSON body, or a GET of a query", kind=kind, allow="GET, POST"
            )
        if kind is None:
            return _refused(406, f"The answer can be {accept.GRAPHQL} or {accept.JSON}", kind=None)
        return await _answered(request, kind, wish)
    except BadRequest as bad:
        return _refused(bad.status, bad.message, code=bad.code, kind=kind)
    except ClientDisconnect:
        return Response(status_code=400)


async def _answered(request: Request, kind: str, wish: str) -> Response:
    started = time.perf_counter()
    http_request.check_size(request)
    is_get = request.method == "GET"
    asked = http_request.from_address(request) if is_get else await _body(request)
    signing = http_signing.begin(request)
    explain.begin(request)
    state = request.app.state
    try:
        text = state.persisted.text_of(asked.document)
    except persisted.Unknown as unknown:
        status = _STATUS.get(unknown.code, 400 if kind == accept.GRAPHQL else 200)
        return _refused(status, unknown.message, code=unknown.code, kind=kind)
    operation = unit_of_work.Request(
        query=text,
        variables=asked.variables,
        operation_name=asked.operation_name,
        token=signing.token,
        address=request.client.host if request.client else "",
        reads_only=is_get,
        takes_written=True,
        tells_cost=http_request.TELL_COST in request.headers,
    )
    if not is_get and await _is_streamed(wish, operation, state):
        if not state.live.admit(operation.address):
            return _refused(429, "Too many connections", kind=kind, code=ErrorCode.RATE_LIMITED)
        return sse.EventStream(state.live, operation, headers=_headers(accept.EVENTS))
    answer = await _run(request, operation)
    if signing.is_to_ask_again(answer):
        answer = await _run(request, replace(operation, token=None))
    _note(asked, answer, time.perf_counter() - started)
    if is_get and asked.document.text is None and "errors" not in answer.body:
        return _fresh(request, answer, kind)
    response = _response(answer, kind)
    signing.settle(response, answer)
    return response


def _response(answer: unit_of_work.Answer, kind: str) -> Response:
    status = _status(answer, kind)
    headers = _headers(kind, status, allow="POST" if answer.is_wrong_method else None)
    return Response(_dumped(answer), status, headers | _limits(answer))


def _dumped(answer: unit_of_work.Answer) -> bytes:
    return executing.encoded(explain.added(answer.body))


def _limits(answer: unit_of_work.Answer) -> dict[str, str]:
    """Return the headers that tell how much more may be asked."""
    limits = metering.headers(answer.charge) if answer.charge is not None else {}
    if answer.retry_after is not None:
        limits["Retry-After"] = str(answer.retry_after)
    return limits


async def _run(request: Request, operation: unit_of_work.Request) -> unit_of_work.Answer:
    """Run an operation, unless its client hangs up."""
    state = request.app.state
    work = unit_of_work.execute(
        operation, sessions=state.sessions, settings=state.settings, buckets=state.buckets
    )
    return await hanging_up.unless_gone(request, work)


async def _body(request: Request) -> http_request.Asked:
    try:
        async with asyncio.timeout(request.app.state.settings.body_timeout_ms / 1000):
            return await http_request.from_body(request)
    except TimeoutError:
        raise BadRequest(408, "The body took too long to arrive") from None


async def _is_streamed(wish: str, operation: unit_of_work.Request, state: State) -> bool:
    # Few ask for streams: the others are not to be looked at twice.
    if accept.EVENTS not in wish.lower():
        return False
    meter = metering.Meter(state.settings, state.buckets, operation.token, operation.address)
    return accept.wants_events(wish, is_subscription=await admission.is_subscription(operation, meter))


def _note(asked: http_request.Asked, answer: unit_of_work.Answer, seconds: float) -> None:
    errors = len(answer.body.get("errors", []))
    # What no operation can be called is not written down.
    name = asked.operation_name if _NAME.fullmatch(asked.operation_name or "") else None
    metrics.note(seconds, has_errors=errors > 0)
    # A line for each would be a tenth of the work of a small query: those that went well are for DEBUG.
    log.log(
        logging.INFO if errors or seconds > SLOW_SECONDS else logging.DEBUG,
        "operation",
        extra={"operation": name, "ms": round(seconds * 1000, 2), "errors": errors},
    )


def _status(answer: unit_of_work.Answer, kind: str) -> int:
    """Return 4xx where nothing ran; to those who know only application/json a request in order is a 200."""
    if answer.is_wrong_method:
        return 405
    if answer.retry_after is not None:
        return 429
    codes = {e.get("extensions", {}).get("code") for e in answer.body.get("errors", [])}
    if ErrorCode.UNAUTHENTICATED in codes and "data" not in answer.body:
        return 401
    return 400 if answer.is_request_error and kind == accept.GRAPHQL else 200


def _fresh(request: Request, answer: unit_of_work.Answer, kind: str) -> Response:
    """Answer a GET of a persisted document: in whole, or that it is as the client has it."""
    body = _dumped(answer)
    # Weak: a compressed answer has the same tag.
    tag = f'W/"{hashlib.sha256(kind.encode() + body).hexdigest()[:32]}"'
    headers = _headers(kind) | _limits(answer) | {"ETag": tag, "Cache-Control": _FRESH}
    given = ",".join(request.headers.getlist("if-none-match"))
    known = [t.strip().removeprefix("W/") for t in given.split(",")]
    if "*" in known or tag.removeprefix("W/") in known:
        del headers["Content-Type"]
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers)


def _headers(kind: str, status: int = 200, *, allow: str | None = None) -> dict[str, str]:
    more = {"Allow": allow} if allow else {}
    if status == HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = "Bearer"
    return more | {
        "Content-Type": f"{kind}; charset=utf-8",
        "X-Request-Id": logs.request_id.get() or "",
        "Vary": "Accept, Authorization, Cookie",
        "Cache-Control": "no-store",
    }


def _refused(
    status: int, message: str, *, kind: str | None, code: str = "BAD_REQUEST", allow: str | None = None
) -> Response:
    body: dict[str, Any] = {"errors": [{"message": message, "extensions": {"code": code}}]}
    return Response(orjson.dumps(body), status, _headers(kind or accept.JSON, status, allow=allow))


def _request_id(request: Request) -> str:
    """Return the id that a proxy gave the request if it is a plain one, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _PLAIN_ID.fullmatch(given) else secrets.token_hex(8)
