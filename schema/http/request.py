"""A GraphQL request as it comes over HTTP: its body or its address, parsed once and checked."""

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
from schema.documents.text_check import can_be_kept
from schema.http.raw_request import Incoming
from services.core.errors import ErrorCode

MAX_BODY_BYTES = 200_000
MAX_URL_BYTES = 8_000
MAX_HEADER_BYTES = 32_000
MAX_NAME = 100
MAX_PARAMETERS = 20
PREFLIGHT = "commonweal-preflight"
"""A header of this name cannot come from another site's page without leave: browsers ask for it first."""
TELL_COST = "commonweal-cost"
"""A header of this name, of any value, asks for `extensions.cost`."""
_PARAMETERS = frozenset({"query", "documentId", "operationName", "variables", "extensions"})


class BadRequest(Exception):
    """A request that is no good, with the HTTP status that says so."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST") -> None:
        """Keep what the answer needs."""
        self.status, self.message, self.code = status, message, code
        super().__init__(message)


@dataclass(slots=True)
class Asked:
    """The parameters of a request."""

    document: persisted_documents.Asked
    variables: dict[str, Any] | None
    operation_name: str | None


def check_size(request: Incoming) -> None:
    """Refuse an address or headers that are too long.

    Raises:
        BadRequest: 414 or 431.
    """
    if request.url_bytes > MAX_URL_BYTES:
        raise BadRequest(414, f"The address may have {MAX_URL_BYTES} bytes")
    if request.header_bytes > MAX_HEADER_BYTES:
        raise BadRequest(431, f"The headers may have {MAX_HEADER_BYTES} bytes")


async def from_body(request: Incoming) -> Asked:
    """Read a POST.

    Raises:
        BadRequest: content type, size or form of the body.
    """
    if not _is_json(request.headers.get("content-type", "")):
        raise BadRequest(415, "The body must be application/json, in UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BadRequest(415, "The body must not be compressed")
    body = request.body
    if body is None and request.receive is not None:
        body = await _arrived(request.receive, request.settings.body_timeout_ms / 1000)
    try:
        text = (body or b"").decode()
    except UnicodeDecodeError:
        raise BadRequest(400, "The body is not UTF-8") from None
    return checked(parsed(text, "The body"))


async def _arrived(receive: Receive, seconds: float) -> bytes:
    """Return a body once it is there.

    Raises:
        BadRequest: it is too large, or comes too slowly.
        ClientDisconnect: the client went in the middle of it.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise BadRequest(413, f"The body may have {MAX_BODY_BYTES} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BadRequest(408, "The body took too long to arrive") from None
    raise ClientDisconnect


def from_address(request: Incoming) -> Asked:
    """Read a GET. A document in words is taken only with a header that no other site can make a browser send.

    Raises:
        BadRequest: form of the parameters, or no such header.
    """
    asked = checked(_parameters(request.query))
    is_safe = PREFLIGHT in request.headers or _is_json(request.headers.get("content-type", ""))
    if asked.document.text is not None and not is_safe:
        raise BadRequest(
            400,
            "A GET of a document in words needs the header Commonweal-Preflight, of any value",
            "PREFLIGHT_REQUIRED",
        )
    return asked


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    kind, *parameters = (p.strip().lower() for p in content_type.split(";"))
    charsets = {p.partition("=")[2].strip(' "') for p in parameters if p.startswith("charset=")}
    return kind == "application/json" and charsets <= {"utf-8", "utf8", "us-ascii"}


def _parameters(query: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise BadRequest(400, "The address holds too many parameters, or what is not UTF-8") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in _PARAMETERS:
            continue
        if name in found:
            raise BadRequest(400, f"`{name}` is given twice")
        found[name] = value
    for name in ("variables", "extensions"):
        if name in found:
            found[name] = parsed(found[name], f"`{name}`") if found[name] else None
    return found


def parsed(text: str, what: str) -> Any:
    """Read JSON with exact numbers: an amount is never a float, not even on its way in."""
    try:
        return _READER.decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        raise BadRequest(400, f"{what} is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_READER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


def checked(document: Any) -> Asked:
    """Return the parameters of a request, as a body or a message of a websocket has them.

    Raises:
        BadRequest: they are not of their form.
    """
    if isinstance(document, list):
        raise BadRequest(400, "Batches are not served: send each operation as a request of its own")
    if not isinstance(document, dict):
        raise BadRequest(400, "The body must be a JSON object")
    variables, name = document.get("variables"), document.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest(400, "`variables` must be an object")
    if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME):
        raise BadRequest(400, "`operationName` must be a short string")
    asked = _document(document)
    if not can_be_kept(asked.text, asked.id, name):
        raise BadRequest(400, "The document holds half of a surrogate pair, or NUL")
    return Asked(document=asked, variables=variables, operation_name=name or None)


def _document(parameters: dict[str, Any]) -> persisted_documents.Asked:
    """Return how the document is named: by its text, an id, a hash, or by its text and one of these."""
    text, name = parameters.get("query"), parameters.get("documentId")
    if isinstance(text, str) and name is None and parameters.get("extensions") is None:
        return persisted_documents.Asked(text, None)
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= persisted_documents.MAX_ID):
        raise BadRequest(400, "`documentId` must be a short string")
    if (by_hash := _hash(parameters.get("extensions"))) is not None:
        if name is not None and name != by_hash:
            raise BadRequest(400, "`documentId` and `extensions.persistedQuery` name two documents")
        name = by_hash
    if not isinstance(text, str) and (text is not None or name is None):
        raise BadRequest(400, "`query` must be a string")
    return persisted_documents.Asked(text=text, id=name)


def _hash(extensions: Any) -> str | None:
    """Return the id that Apollo's Automatic Persisted Queries give, if they do."""
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest(400, "`extensions` must be an object")
    if (given := (extensions or {}).get("persistedQuery")) is None:
        return None
    if not isinstance(given, dict) or given.get("version") is True or given.get("version") != 1:
        raise BadRequest(400, "`extensions.persistedQuery` must be an object of version 1")
    found = given.get("sha256Hash")
    if not persisted_documents.is_hash(found):
        raise BadRequest(400, "`extensions.persistedQuery.sha256Hash` must be 64 hex digits, small")
    return f"{persisted_documents.PREFIX}{found}"


def bearer(header: str) -> str:
    """Return the token of an `Authorization`.

    Raises:
        BadRequest: another scheme, or no token.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadRequest(401, "Send `Authorization: Bearer` with a token", ErrorCode.UNAUTHENTICATED)
    return token.strip()
