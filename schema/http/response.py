"""What goes back over HTTP: status, headers and the one JSON document."""

import hashlib
from http import HTTPStatus

from starlette.responses import Response

from schema.execution import cost_meter, operation
from schema.execution.unit_of_work import Answer
from schema.http import content_negotiation
from schema.http.raw_request import RawHeaders
from schema.observability import logs, sql_trace
from schema.types.errors import masked
from services.core.errors import ErrorCode

_VARY = (b"vary", b"Accept, Authorization, Cookie")
_NO_STORE = (b"cache-control", b"no-store")
_FRESH = (b"cache-control", b"private, max-age=0, must-revalidate")
_BEARER = (b"www-authenticate", b"Bearer")
_TYPES = {
    kind: (b"content-type", f"{kind}; charset=utf-8".encode())
    for kind in (content_negotiation.JSON, content_negotiation.GRAPHQL, content_negotiation.EVENTS)
}


class Reply(Response):
    """A response whose headers are bytes from the start: most are the same each time."""

    def __init__(self, body: bytes, status: int, headers: RawHeaders) -> None:
        """Take the headers, and add the length."""
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = headers
        if status != HTTPStatus.NOT_MODIFIED:
            headers.append((b"content-length", b"%d" % len(body)))


def headers(kind: str) -> RawHeaders:
    """Return the headers of an answer that is not to be kept."""
    return [_TYPES[kind], _request_id(), _VARY, _NO_STORE]


def of_answer(answer: Answer, kind: str) -> Reply:
    """Return the response to an operation."""
    status = _status(answer, kind)
    own = headers(kind)
    if status == HTTPStatus.UNAUTHORIZED:
        own.append(_BEARER)
    if answer.is_wrong_method:
        own.append((b"allow", b"POST"))
    return Reply(_dumped(answer), status, own + _limits(answer))


def fresh(answer: Answer, kind: str, *, known: str) -> Reply:
    """Answer a GET of a persisted document: in whole, or that it is as the client has it.

    `known` is its `If-None-Match`.
    """
    body = _dumped(answer)
    # Weak: a compressed answer has the same tag.
    tag = f'W/"{hashlib.sha256(kind.encode() + body).hexdigest()[:32]}"'
    own = [_request_id(), _VARY, _FRESH, (b"etag", tag.encode()), *_limits(answer)]
    tags = [t.strip().removeprefix("W/") for t in known.split(",")]
    if "*" in tags or tag.removeprefix("W/") in tags:
        return Reply(b"", 304, own)
    return Reply(body, 200, [_TYPES[kind], *own])


def refused(
    status: int, message: str, *, kind: str | None, code: str = "BAD_REQUEST", allow: bytes | None = None
) -> Reply:
    """Say in GraphQL's form why nothing ran."""
    own = headers(kind or content_negotiation.JSON)
    if status == HTTPStatus.UNAUTHORIZED:
        own.append(_BEARER)
    if allow is not None:
        own.append((b"allow", allow))
    return Reply(
        operation.encoded({"errors": [{"message": message, "extensions": {"code": code}}]}), status, own
    )


def fault(error: BaseException) -> Reply:
    """Answer a fault of ours, logged and masked."""
    return Reply(operation.encoded({"errors": [masked(error)]}), 500, headers(content_negotiation.JSON))


def _dumped(answer: Answer) -> bytes:
    return operation.encoded(sql_trace.added(answer.body))


def _request_id() -> tuple[bytes, bytes]:
    return b"x-request-id", (logs.request_id.get() or "").encode()


def _limits(answer: Answer) -> RawHeaders:
    """Return the headers that tell how much more may be asked."""
    limits = cost_meter.headers(answer.charge) if answer.charge is not None else []
    if answer.retry_after is not None:
        limits.append((b"retry-after", b"%d" % answer.retry_after))
    return limits


def _status(answer: Answer, kind: str) -> int:
    """Return 4xx where nothing ran; to those who know only application/json a request in order is a 200."""
    if "errors" not in answer.body:
        return 200
    if answer.is_wrong_method:
        return 405
    if answer.retry_after is not None:
        return 429
    codes = {e.get("extensions", {}).get("code") for e in answer.body["errors"]}
    if ErrorCode.UNAUTHENTICATED in codes and "data" not in answer.body:
        return 401
    return 400 if answer.is_request_error and kind == content_negotiation.GRAPHQL else 200
