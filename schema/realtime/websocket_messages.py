"""Messages of graphql-transport-ws: what comes, checked, and what goes."""

from dataclasses import dataclass
from typing import Any

import orjson

from schema.http import request as http_request
from schema.http.request import Asked, BadRequest

SUBPROTOCOL = "graphql-transport-ws"
MAX_BYTES = http_request.MAX_BODY_BYTES + 1_000
MAX_ID = 100

GOING_AWAY = 1012
"""Of the server: come back."""
TRY_LATER = 1013
"""Too slow a reader."""
BAD_MESSAGE = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
NO_SUBPROTOCOL = 4406
INIT_TIMEOUT = 4408
ID_IN_USE = 4409
INIT_AGAIN = 4429
INTERNAL = 4500


class Closed(Exception):
    """The connection ends with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        """Keep what the close frame says."""
        self.code, self.reason = code, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Message:
    """What a client said."""

    type: str
    id: str
    payload: Any


def read(given: dict[str, Any]) -> Message:
    """Return the message of a frame.

    Raises:
        Closed: 4400: the frame is no text, no JSON, or no message of the protocol.
    """
    text = given.get("text")
    if text is None:
        raise Closed(BAD_MESSAGE, "Messages are text")
    try:
        found = http_request.parsed(text, "The message")
    except BadRequest as bad:
        raise Closed(BAD_MESSAGE, bad.message) from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise Closed(BAD_MESSAGE, "A message is an object with a type")
    kind, name, payload = found["type"], found.get("id"), found.get("payload")
    if kind not in {"connection_init", "ping", "pong", "subscribe", "complete"}:
        raise Closed(BAD_MESSAGE, "There is no such type of message")
    if kind in {"subscribe", "complete"} and not (isinstance(name, str) and 0 < len(name) <= MAX_ID):
        raise Closed(BAD_MESSAGE, f"`id` must be a string of 1 to {MAX_ID} characters")
    if kind in {"connection_init", "ping", "pong"} and not isinstance(payload, dict | None):
        raise Closed(BAD_MESSAGE, "`payload` must be an object")
    return Message(kind, name if isinstance(name, str) else "", payload)


def asked(message: Message) -> Asked:
    """Return what a `subscribe` asks.

    Raises:
        Closed: 4400: it is no request.
    """
    try:
        return http_request.checked(message.payload)
    except BadRequest as bad:
        raise Closed(BAD_MESSAGE, bad.message) from None


def token(message: Message) -> str | None:
    """Return the token that a `connection_init` brings: `Authorization` (Bearer), or `token`.

    Raises:
        Closed: 4403: it is no token.
    """
    payload = message.payload or {}
    found = [payload[name] for name in ("Authorization", "authorization") if payload.get(name) is not None]
    bare = payload.get("token")
    try:
        if found:
            return http_request.bearer(found[0] if isinstance(found[0], str) else "")
        return (
            None if bare is None else http_request.bearer(f"Bearer {bare}" if isinstance(bare, str) else "")
        )
    except BadRequest as bad:
        raise Closed(FORBIDDEN, bad.message) from None


def written(kind: str, name: str | None = None, payload: Any = None) -> str:
    """Return a message as text: some clients take no binary frame."""
    message: dict[str, Any] = {"type": kind}
    if name is not None:
        message["id"] = name
    if payload is not None:
        message["payload"] = payload
    return orjson.dumps(message, default=str).decode()
