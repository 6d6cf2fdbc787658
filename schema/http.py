"""GraphQL over HTTP: a checked body in, one JSON document out."""

import json
import logging
import re
import secrets
import time
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from schema import graphiql, logs, metrics, unit_of_work
from services.errors import ErrorCode

MAX_BODY_BYTES = 200_000
MAX_NAME = 100
log = logging.getLogger("commonweal.http")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ACCEPTED = ("application/json", "application/graphql-response+json")


class BadRequest(Exception):  # noqa: N818 - becomes an answer
    """A request that is no good, with the HTTP status that says so."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST") -> None:
        """Keep what the answer needs."""
        self.status, self.message, self.code = status, message, code
        super().__init__(message)


async def endpoint(request: Request) -> Response:
    """Answer a GraphQL POST; show GraphiQL to a browser that asks for a page."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return graphiql.page()
    if request.method != "POST":
        return _refused(405, "Send a POST with a JSON body", headers={"Allow": "GET, POST"})
    started = time.perf_counter()
    logs.request_id.set(_request_id(request))
    try:
        asked = await _read(request)
    except BadRequest as bad:
        return _refused(bad.status, bad.message, code=bad.code)
    except ClientDisconnect:
        return Response(status_code=400)
    state = request.app.state
    answer = await unit_of_work.execute(asked, sessions=state.sessions, settings=state.settings)
    seconds = time.perf_counter() - started
    errors = len(answer.body.get("errors", []))
    metrics.note(seconds, has_errors=errors > 0)
    log.info(
        "operation",
        extra={"operation": asked.operation_name, "ms": round(seconds * 1000, 2), "errors": errors},
    )
    return _answer(answer, request)


def _answer(answer: unit_of_work.Answer, request: Request) -> Response:
    modern = _ACCEPTED[1] in request.headers.get("accept", "")
    status = 400 if answer.is_request_error and modern else 200
    codes = {e.get("extensions", {}).get("code") for e in answer.body.get("errors", [])}
    if ErrorCode.UNAUTHENTICATED in codes and "data" not in answer.body:
        status = 401
    return Response(
        orjson.dumps(answer.body, default=str),
        status_code=status,
        media_type=_ACCEPTED[1] if modern else _ACCEPTED[0],
        headers={"X-Request-Id": logs.request_id.get() or ""},
    )


def _request_id(request: Request) -> str:
    """Return the id that a proxy gave the request if it is a plain one, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _PLAIN_ID.fullmatch(given) else secrets.token_hex(8)


def _refused(
    status: int, message: str, *, code: str = "BAD_REQUEST", headers: dict[str, str] | None = None
) -> Response:
    body = {"errors": [{"message": message, "extensions": {"code": code}}]}
    return Response(orjson.dumps(body), status_code=status, media_type=_ACCEPTED[0], headers=headers)


async def _read(request: Request) -> unit_of_work.Request:
    """Read and check a request.

    Raises:
        BadRequest: content type, size or form of the body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(415, "The body must be application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(413, f"The body may have {MAX_BODY_BYTES} bytes")
    return _checked(_parsed(bytes(body)), request)


def _parsed(body: bytes) -> Any:
    """Read JSON with exact numbers: an amount is never a float, not even on its way in."""
    try:
        return json.loads(body.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError):
        raise BadRequest(400, "The body is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _checked(document: Any, request: Request) -> unit_of_work.Request:
    if not isinstance(document, dict):
        raise BadRequest(400, "The body must be a JSON object")
    query, variables = document.get("query"), document.get("variables")
    name = document.get("operationName")
    if not isinstance(query, str):
        raise BadRequest(400, "`query` must be a string")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest(400, "`variables` must be an object")
    if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME):
        raise BadRequest(400, "`operationName` must be a short string")
    if unit_of_work.bad_text([query, name or ""], ()) is not None:
        raise BadRequest(400, "The document holds half of a surrogate pair, or NUL")
    return unit_of_work.Request(
        query=query,
        variables=variables,
        operation_name=name or None,
        token=token_of(request),
        address=request.client.host if request.client else "",
    )


def token_of(request: Request) -> str | None:
    """Return the bearer token of a request, or None where it has none.

    Raises:
        BadRequest: another scheme, or no token.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadRequest(401, "Send `Authorization: Bearer` with a token", ErrorCode.UNAUTHENTICATED)
    return token.strip()
