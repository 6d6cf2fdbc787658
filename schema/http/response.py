"""GraphQL responses over HTTP: status, headers and one JSON document."""

import hashlib
from http import HTTPStatus

from starlette.responses import Response

from schema.execution import cost_meter, operation
from schema.execution.unit_of_work import OperationResult
from schema.http import content_negotiation
from schema.http.raw_request import RawHeaders
from schema.observability import logs, operation_spans, sql_trace
from schema.types.errors import mask_error
from services.core import tracing
from services.core.errors import ErrorCode

_VARY = (b"vary", b"Accept, Authorization, Cookie")
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"private, max-age=0, must-revalidate")
_RETRY_SOON = (b"retry-after", b"1")
_BEARER = (b"www-authenticate", b"Bearer")
_TYPES = {
    media_type: (b"content-type", f"{media_type}; charset=utf-8".encode())
    for media_type in (content_negotiation.JSON, content_negotiation.GRAPHQL, content_negotiation.EVENTS)
}


class GraphQLResponse(Response):
    """A response with headers given as bytes, because most are the same each time."""

    def __init__(self, body: bytes, status: int, headers: RawHeaders) -> None:
        """Take over the headers and append the content length."""
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = headers
        if status != HTTPStatus.NOT_MODIFIED:
            headers.append((b"content-length", b"%d" % len(body)))


def uncached_headers(media_type: str) -> RawHeaders:
    """Return the headers of a response that must not be stored."""
    return [_TYPES[media_type], _request_id_header(), *operation_spans.headers(), _VARY, _NO_STORE]


def operation_response(result: OperationResult, media_type: str) -> GraphQLResponse:
    """Return the response of an operation."""
    status = _http_status(result, media_type)
    response_headers = uncached_headers(media_type)
    if status == HTTPStatus.UNAUTHORIZED:
        response_headers.append(_BEARER)
    if result.is_wrong_method:
        response_headers.append((b"allow", b"POST"))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response_headers.append(_RETRY_SOON)
    return GraphQLResponse(_encode_body(result), status, response_headers + _rate_limit_headers(result))


def cacheable_response(result: OperationResult, media_type: str, *, if_none_match: str) -> GraphQLResponse:
    """Return the response to a GET of a persisted document: the whole body, or 304 if the client has it."""
    body = _encode_body(result)
    # Weak, because the compressed response has the same tag.
    tag = f'W/"{hashlib.sha256(media_type.encode() + body).hexdigest()[:32]}"'
    response_headers = [
        _request_id_header(),
        *operation_spans.headers(),
        _VARY,
        _REVALIDATE,
        (b"etag", tag.encode()),
        *_rate_limit_headers(result),
    ]
    tags = [t.strip().removeprefix("W/") for t in if_none_match.split(",")]
    if "*" in tags or tag.removeprefix("W/") in tags:
        return GraphQLResponse(b"", 304, response_headers)
    return GraphQLResponse(body, 200, [_TYPES[media_type], *response_headers])


def error_response(
    status: int,
    message: str,
    *,
    media_type: str | None,
    code: str = "BAD_REQUEST",
    allow: bytes | None = None,
) -> GraphQLResponse:
    """Return an error in GraphQL's form for a request that did not run."""
    tracing.note_code(code)
    response_headers = uncached_headers(media_type or content_negotiation.JSON)
    if status == HTTPStatus.UNAUTHORIZED:
        response_headers.append(_BEARER)
    if allow is not None:
        response_headers.append((b"allow", allow))
    return GraphQLResponse(
        operation.encode_json({"errors": [{"message": message, "extensions": {"code": code}}]}),
        status,
        response_headers,
    )


def internal_error(error: BaseException) -> GraphQLResponse:
    """Log an unexpected error and return it masked."""
    tracing.note_code("INTERNAL_SERVER_ERROR")
    return GraphQLResponse(
        operation.encode_json({"errors": [mask_error(error)]}),
        500,
        uncached_headers(content_negotiation.JSON),
    )


def _encode_body(result: OperationResult) -> bytes:
    return operation.encode_json(sql_trace.with_trace(result.body))


def _request_id_header() -> tuple[bytes, bytes]:
    return b"x-request-id", (logs.request_id.get() or "").encode()


def _rate_limit_headers(result: OperationResult) -> RawHeaders:
    """Return the headers that say how many points are left."""
    limits = cost_meter.rate_limit_headers(result.charge) if result.charge is not None else []
    if result.retry_after_seconds is not None:
        limits.append((b"retry-after", b"%d" % result.retry_after_seconds))
    return limits


def _http_status(result: OperationResult, media_type: str) -> int:
    """Return 4xx if nothing ran; with application/json, an error of the operation itself is a 200."""
    if "errors" not in result.body:
        return 200
    if result.is_wrong_method:
        return 405
    if result.retry_after_seconds is not None:
        return 429
    codes = {e.get("extensions", {}).get("code") for e in result.body["errors"]}
    if ErrorCode.UNAVAILABLE in codes and result.body.get("data") is None:
        return 503
    if ErrorCode.UNAUTHENTICATED in codes and "data" not in result.body:
        return 401
    return 400 if result.is_request_error and media_type == content_negotiation.GRAPHQL else 200
