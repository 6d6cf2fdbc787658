"""Messages of graphql-transport-ws: parse incoming ones, encode outgoing ones."""

from dataclasses import dataclass
from typing import Any

from schema.execution.operation import encode_json
from schema.http import request as http_request
from schema.http.request import BadRequest, GraphQLParams

SUBPROTOCOL = "graphql-transport-ws"
MAX_BYTES = http_request.MAX_BODY_BYTES + 1_000
MAX_ID_LENGTH = 100

POLICY = 1008
"""The client sends too much."""
GOING_AWAY = 1012
"""The server is shutting down; reconnect."""
TRY_LATER = 1013
"""The client reads too slowly."""
BAD_MESSAGE = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
NO_SUBPROTOCOL = 4406
INIT_TIMEOUT = 4408
ID_IN_USE = 4409
INIT_AGAIN = 4429
INTERNAL = 4500


class CloseConnection(Exception):
    """Close the connection with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        """Keep the code and reason of the close frame."""
        self.code, self.reason = code, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Message:
    """A message from a client."""

    type: str
    id: str
    payload: Any


def parse_message(frame: dict[str, Any]) -> Message:
    """Parse the message in a frame.

    Raises:
        CloseConnection: 4400: the frame is not text, not JSON, or not a message of the protocol.
    """
    text = frame.get("text")
    if text is None:
        raise CloseConnection(BAD_MESSAGE, "Send messages as text frames")
    try:
        message = http_request.parse_exact_json(text, "The message")
    except BadRequest as error:
        raise CloseConnection(BAD_MESSAGE, error.message) from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise CloseConnection(BAD_MESSAGE, "A message must be an object with a type")
    message_type, operation_id, payload = message["type"], message.get("id"), message.get("payload")
    if message_type not in {"connection_init", "ping", "pong", "subscribe", "complete"}:
        raise CloseConnection(BAD_MESSAGE, "Unknown message type")
    if message_type in {"subscribe", "complete"} and not (
        isinstance(operation_id, str) and 0 < len(operation_id) <= MAX_ID_LENGTH
    ):
        raise CloseConnection(BAD_MESSAGE, f"`id` must be a string of 1 to {MAX_ID_LENGTH} characters")
    if message_type in {"connection_init", "ping", "pong"} and not isinstance(payload, dict | None):
        raise CloseConnection(BAD_MESSAGE, "`payload` must be an object")
    return Message(message_type, operation_id if isinstance(operation_id, str) else "", payload)


def subscribe_params(message: Message) -> GraphQLParams:
    """Return the GraphQL parameters of a `subscribe` message.

    Raises:
        CloseConnection: 4400: they are malformed.
    """
    try:
        return http_request.parse_params(message.payload)
    except BadRequest as error:
        raise CloseConnection(BAD_MESSAGE, error.message) from None


def parse_token(message: Message) -> str | None:
    """Return the token in a `connection_init`: `Authorization` (Bearer), or `token`.

    Raises:
        CloseConnection: 4403: it is malformed.
    """
    payload = message.payload or {}
    headers = [payload[key] for key in ("Authorization", "authorization") if payload.get(key) is not None]
    bare = payload.get("token")
    try:
        if headers:
            return http_request.parse_bearer(headers[0] if isinstance(headers[0], str) else "")
        return (
            None
            if bare is None
            else http_request.parse_bearer(f"Bearer {bare}" if isinstance(bare, str) else "")
        )
    except BadRequest as error:
        raise CloseConnection(FORBIDDEN, error.message) from None


def encode(message_type: str, operation_id: str | None = None, payload: Any = None) -> str:
    """Encode a message as text, because some clients reject binary frames."""
    message: dict[str, Any] = {"type": message_type}
    if operation_id is not None:
        message["id"] = operation_id
    if payload is not None:
        message["payload"] = payload
    return encode_json(message).decode()
