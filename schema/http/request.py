"""GraphQL parameters over HTTP: parse and check the body of a POST or the URL of a GET."""

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from schema.documents import persisted_documents
from schema.documents.text_check import is_storable
from schema.http.raw_request import RawRequest
from services.core.errors import ErrorCode

MAX_BODY_BYTES = 200_000
MAX_URL_BYTES = 8_000
MAX_HEADER_BYTES = 32_000
MAX_NAME_LENGTH = 100
MAX_PARAMETERS = 20
PREFLIGHT_HEADER = "commonweal-preflight"
"""Another site's page cannot send this header without permission: it makes browsers send a preflight."""
COST_HEADER = "commonweal-cost"
"""This header, with any value, requests `extensions.cost`."""
_PARAMETER_NAMES = frozenset({"query", "documentId", "operationName", "variables", "extensions"})


class BadRequest(Exception):
    """An invalid request, with the HTTP status of its response."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST") -> None:
        """Keep the status, message and code of the response."""
        self.status, self.message, self.code = status, message, code
        super().__init__(message)


@dataclass(slots=True)
class GraphQLParams:
    """The checked parameters of a GraphQL request."""

    document: persisted_documents.DocumentSource
    variables: dict[str, Any] | None
    operation_name: str | None


def check_size(request: RawRequest) -> None:
    """Require that the URL and the headers are not too long.

    Raises:
        BadRequest: 414 or 431.
    """
    if request.url_bytes > MAX_URL_BYTES:
        raise BadRequest(414, f"The URL may have at most {MAX_URL_BYTES} bytes")
    if request.header_bytes > MAX_HEADER_BYTES:
        raise BadRequest(431, f"The headers may have at most {MAX_HEADER_BYTES} bytes")


async def params_from_body(request: RawRequest) -> GraphQLParams:
    """Read the parameters of a POST.

    Raises:
        BadRequest: the body has another content type or encoding, is too large, or malformed.
    """
    if not _is_json(request.headers.get("content-type", "")):
        raise BadRequest(415, "The body must be application/json, in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BadRequest(415, "The body must not be compressed")
    body = request.body
    if body is None and request.receive is not None:
        body = await _read_body(request.receive, request.settings.body_timeout_ms / 1000)
    try:
        text = (body or b"").decode()
    except UnicodeDecodeError:
        raise BadRequest(400, "The body is not UTF-8") from None
    return parse_params(parse_exact_json(text, "The body"))


async def _read_body(receive: Receive, seconds: float) -> bytes:
    """Read a body to its end.

    Raises:
        BadRequest: it is too large or arrives too slowly.
        ClientDisconnect: the client disconnected before the end.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise BadRequest(413, f"The body may have at most {MAX_BODY_BYTES} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BadRequest(408, "The body took too long to arrive") from None
    raise ClientDisconnect


def params_from_query(request: RawRequest) -> GraphQLParams:
    """Read the parameters of a GET; a document's text needs a header that other sites cannot send.

    Raises:
        BadRequest: the parameters are malformed, or the header is missing.
    """
    params = parse_params(_parse_query_string(request.query))
    is_safe = PREFLIGHT_HEADER in request.headers or _is_json(request.headers.get("content-type", ""))
    if params.document.text is not None and not is_safe:
        raise BadRequest(
            400,
            "A GET with a `query` needs the header Commonweal-Preflight, with any value",
            "PREFLIGHT_REQUIRED",
        )
    return params


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    media_type, *parameters = (p.strip().lower() for p in content_type.split(";"))
    charsets = {p.partition("=")[2].strip(' "') for p in parameters if p.startswith("charset=")}
    return media_type == "application/json" and charsets <= {"utf-8", "utf8", "us-ascii"}


def _parse_query_string(query: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise BadRequest(400, "The URL has too many parameters, or is not UTF-8") from None
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        if name not in _PARAMETER_NAMES:
            continue
        if name in parameters:
            raise BadRequest(400, f"`{name}` is given twice")
        parameters[name] = value
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = parse_exact_json(parameters[name], f"`{name}`") if parameters[name] else None
    return parameters


def parse_exact_json(text: str, name: str) -> Any:
    """Parse JSON with exact numbers, so that amounts are never floats; errors call the text `name`.

    Raises:
        BadRequest: it is not JSON.
    """
    try:
        return _EXACT_DECODER.decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        raise BadRequest(400, f"{name} is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class _ExactNumber(Decimal):
    """A number with a fraction, which graphql-core can show in its errors."""

    def __inspect__(self) -> str:
        return str(self)


def _parse_number(text: str) -> int | Decimal:
    """Parse a number that has a fraction or exponent; one without a fraction is an Int to GraphQL."""
    number = _ExactNumber(text)
    is_whole = number.adjusted() <= _INT_DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else number


_INT_DIGITS = 18
_EXACT_DECODER = json.JSONDecoder(parse_float=_parse_number, parse_constant=_refuse_constant)


def parse_params(document: Any) -> GraphQLParams:
    """Check the parameters in a request body or websocket message.

    Raises:
        BadRequest: they are malformed.
    """
    if isinstance(document, list):
        raise BadRequest(400, "Batches are not supported: send each operation in its own request")
    if not isinstance(document, dict):
        raise BadRequest(400, "The body must be a JSON object")
    variables, name = document.get("variables"), document.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest(400, "`variables` must be an object")
    if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME_LENGTH):
        raise BadRequest(400, f"`operationName` must be a string of at most {MAX_NAME_LENGTH} characters")
    source = _parse_document_source(document)
    if not is_storable(source.text, source.id, name):
        raise BadRequest(400, "The document contains NUL or an unpaired surrogate")
    return GraphQLParams(document=source, variables=variables, operation_name=name or None)


def _parse_document_source(parameters: dict[str, Any]) -> persisted_documents.DocumentSource:
    """Return the document's source: its text, an id, a hash, or its text with one of these."""
    text, name = parameters.get("query"), parameters.get("documentId")
    if isinstance(text, str) and name is None and parameters.get("extensions") is None:
        return persisted_documents.DocumentSource(text, None)
    if name is not None and (
        not isinstance(name, str) or not 0 < len(name) <= persisted_documents.MAX_ID_LENGTH
    ):
        raise BadRequest(
            400, f"`documentId` must be a string of 1 to {persisted_documents.MAX_ID_LENGTH} characters"
        )
    if (by_hash := _parse_persisted_query(parameters.get("extensions"))) is not None:
        if name is not None and name != by_hash:
            raise BadRequest(400, "`documentId` and `extensions.persistedQuery` name different documents")
        name = by_hash
    if not isinstance(text, str) and (text is not None or name is None):
        raise BadRequest(400, "`query` must be a string")
    return persisted_documents.DocumentSource(text=text, id=name)


def _parse_persisted_query(extensions: Any) -> str | None:
    """Return the document id in the form of Apollo's Automatic Persisted Queries, if present."""
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest(400, "`extensions` must be an object")
    if (persisted := (extensions or {}).get("persistedQuery")) is None:
        return None
    if not isinstance(persisted, dict) or persisted.get("version") is True or persisted.get("version") != 1:
        raise BadRequest(400, "`extensions.persistedQuery` must be an object of version 1")
    sha256 = persisted.get("sha256Hash")
    if not persisted_documents.is_hash(sha256):
        raise BadRequest(400, "`extensions.persistedQuery.sha256Hash` must be 64 lower-case hex digits")
    return f"{persisted_documents.PREFIX}{sha256}"


def parse_bearer(header: str) -> str:
    """Return the token of an `Authorization` header.

    Raises:
        BadRequest: 401: another scheme, or no token.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadRequest(401, "Send `Authorization: Bearer` with a token", ErrorCode.UNAUTHENTICATED)
    return token.strip()
