"""A raw HTTP request, read straight from the socket or from an ASGI scope."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.datastructures import State
from starlette.requests import cookie_parser
from starlette.types import Receive, Scope

from services.core.settings import Settings

RawHeaders = list[tuple[bytes, bytes]]
_LIST_SEPARATORS = {"accept": ",", "accept-encoding": ",", "if-none-match": ",", "cookie": "; "}
"""Headers that may span several lines, and the separator that joins them."""


@dataclass(slots=True)
class RawRequest:
    """The parts of an HTTP request that the endpoint reads."""

    method: str
    url_bytes: int
    query: bytes
    headers: Mapping[str, str]
    """By name, in lower case."""
    header_bytes: int
    address: str
    """The client's network address."""
    scheme: str
    state: State
    """The application's state."""
    body: bytes | None = None
    """The body, if it arrived with the request; otherwise it is read by `receive`."""
    receive: Receive | None = None
    """None if the connection itself cancels the task when the client disconnects."""

    @property
    def settings(self) -> Settings:
        """The application's settings."""
        settings: Settings = self.state.settings
        return settings

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request."""
        header = self.headers.get("cookie")
        return {} if header is None else cookie_parser(header)


def from_scope(scope: Scope, receive: Receive | None = None) -> RawRequest:
    """Build a raw request from the ASGI scope of a request or websocket."""
    raw: RawHeaders = scope["headers"]
    query: bytes = scope.get("query_string", b"")
    client = scope.get("client")
    return RawRequest(
        method=scope.get("method", "GET"),
        url_bytes=len(scope.get("raw_path") or scope["path"]) + len(query),
        query=query,
        headers=headers_by_name(raw),
        header_bytes=count_header_bytes(raw),
        address=client[0] if client else "",
        scheme=scope.get("scheme", "http"),
        state=scope["app"].state,
        receive=receive,
    )


def headers_by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; the first of a repeated header counts, unless it is a list."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if key not in headers:
            headers[key] = text
        elif key in _LIST_SEPARATORS:
            headers[key] += _LIST_SEPARATORS[key] + text
    return headers


def count_header_bytes(raw: RawHeaders) -> int:
    """Return the size of the headers in bytes."""
    return sum([len(name) + len(value) for name, value in raw])
