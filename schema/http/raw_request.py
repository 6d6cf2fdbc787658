"""A request as both ways to the endpoint give it: straight from the socket, or through ASGI."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.datastructures import State
from starlette.requests import cookie_parser
from starlette.types import Receive, Scope

from services.core.settings import Settings

RawHeaders = list[tuple[bytes, bytes]]
_JOINED = {"accept": ",", "accept-encoding": ",", "if-none-match": ",", "cookie": "; "}
"""Headers that may be given in several lines."""


@dataclass(slots=True)
class Incoming:
    """What the endpoint asks of a request."""

    method: str
    url_bytes: int
    query: bytes
    headers: Mapping[str, str]
    """By their names in small letters."""
    header_bytes: int
    address: str
    """The network address that asks."""
    scheme: str
    state: State
    """What lives as long as the application."""
    body: bytes | None = None
    """Where it came with the request; else `receive` is asked for it."""
    receive: Receive | None = None
    """None where the connection itself ends the task when the client goes."""

    @property
    def settings(self) -> Settings:
        """The application's."""
        settings: Settings = self.state.settings
        return settings

    @property
    def cookies(self) -> dict[str, str]:
        """What the browser keeps for us."""
        given = self.headers.get("cookie")
        return {} if given is None else cookie_parser(given)


def through_asgi(scope: Scope, receive: Receive | None = None) -> Incoming:
    """Return what the scope of a request or a websocket says."""
    raw: RawHeaders = scope["headers"]
    query: bytes = scope.get("query_string", b"")
    client = scope.get("client")
    return Incoming(
        method=scope.get("method", "GET"),
        url_bytes=len(scope.get("raw_path") or scope["path"]) + len(query),
        query=query,
        headers=by_name(raw),
        header_bytes=size(raw),
        address=client[0] if client else "",
        scheme=scope.get("scheme", "http"),
        state=scope["app"].state,
        receive=receive,
    )


def by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; of one that comes twice the first counts, unless it is a list."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if key not in found:
            found[key] = text
        elif key in _JOINED:
            found[key] += _JOINED[key] + text
    return found


def size(raw: RawHeaders) -> int:
    """Return how many bytes the headers have."""
    return sum([len(name) + len(value) for name, value in raw])
