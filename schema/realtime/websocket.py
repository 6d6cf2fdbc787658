"""GraphQL over websockets, in the protocol graphql-transport-ws only."""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from schema.documents import persisted_documents
from schema.execution import unit_of_work
from schema.execution.unit_of_work import OperationResult
from schema.http import authentication, origins
from schema.http import request as http_request
from schema.http.raw_request import from_scope
from schema.http.request import BadRequest
from schema.observability import logs, operation_spans
from schema.realtime import websocket_messages
from schema.realtime.subscription_runner import SubscriptionRunner
from schema.realtime.websocket_messages import CloseConnection, Message
from schema.types.errors import to_response_error
from services.core.errors import LimitExceeded, Problem
from services.live.broadcaster import DATABASE_ERRORS, ServerStopping

MAX_OPERATIONS = 20
"""Limit of concurrent operations on one connection, subscriptions included."""
log = logging.getLogger("commonweal.websocket")


async def serve_websocket(socket: WebSocket) -> None:
    """Serve a connection until one side closes it."""
    state = socket.app.state
    runner: SubscriptionRunner = state.subscriptions
    headers = socket.headers
    if not origins.is_allowed(
        state.settings, origin=headers.get("origin"), host=headers.get("host", ""), scheme=socket.url.scheme
    ):
        await socket.send_denial_response(PlainTextResponse("This origin may not connect\n", 403))
        return
    address = socket.client.host if socket.client else ""
    if not runner.open_connection(address):
        await socket.send_denial_response(PlainTextResponse("Too many connections\n", 429))
        return
    try:
        if websocket_messages.SUBPROTOCOL not in socket.scope["subprotocols"]:
            await socket.accept()
            await socket.close(
                websocket_messages.NO_SUBPROTOCOL, f"The subprotocol is {websocket_messages.SUBPROTOCOL}"
            )
            return
        await socket.accept(websocket_messages.SUBPROTOCOL)
        await _Connection(socket, runner, address).serve()
    except WebSocketDisconnect:
        pass  # the client disconnected
    finally:
        runner.close_connection(address)


class _Connection:
    """One connection: its token and its running operations."""

    def __init__(self, socket: WebSocket, runner: SubscriptionRunner, address: str) -> None:
        self._socket, self._runner, self._address = socket, runner, address
        self._token: str | None = None
        self._is_initialised = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the error of an operation that must close the whole connection."""

    async def serve(self) -> None:
        """Handle messages until the connection ends, and leave nothing running."""
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({reading, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            await (self._ended if self._ended.done() else reading)
        except CloseConnection as closing:
            with suppress(WebSocketDisconnect, RuntimeError):  # it may have closed meanwhile
                await self._socket.close(closing.code, closing.reason)
        finally:
            tasks = [reading, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not self._ended.cancel():
                self._ended.exception()  # marks it as retrieved

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._runner.settings.live_init_seconds):
                while not self._is_initialised:
                    await self._handle(await self._receive())
        except TimeoutError:
            raise CloseConnection(
                websocket_messages.INIT_TIMEOUT, "Connection initialisation timeout"
            ) from None
        while True:
            await self._handle(await self._receive())

    async def _receive(self) -> Message:
        frame = await self._socket.receive()
        if frame["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(frame.get("code", 1005))
        return websocket_messages.parse_message(dict(frame))

    async def _handle(self, message: Message) -> None:
        match message.type:
            case "connection_init":
                await self._init(message)
            case "ping":
                await self._send("pong")
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                if (task := self._running.pop(message.id, None)) is not None:
                    task.cancel()
            case _:
                pass  # an unsolicited pong

    async def _init(self, message: Message) -> None:
        if self._is_initialised:
            raise CloseConnection(websocket_messages.INIT_AGAIN, "Too many initialisation requests")
        try:
            self._token = (
                websocket_messages.parse_token(message)
                or authentication.credentials_of(from_scope(self._socket.scope)).token
            )
            await self._runner.require_viewer(self._token)
        except BadRequest as error:
            raise CloseConnection(websocket_messages.FORBIDDEN, error.message) from None
        except Problem as problem:
            raise CloseConnection(websocket_messages.FORBIDDEN, problem.message) from None
        except DATABASE_ERRORS:
            raise CloseConnection(websocket_messages.INTERNAL, "The database does not answer") from None
        self._is_initialised = True
        await self._send("connection_ack")

    async def _subscribe(self, message: Message) -> None:
        if not self._is_initialised:
            raise CloseConnection(websocket_messages.UNAUTHORIZED, "Unauthorized")
        if message.id in self._running:
            raise CloseConnection(
                websocket_messages.ID_IN_USE, f"Subscriber for {message.id[:50]} already exists"
            )
        params = websocket_messages.subscribe_params(message)
        if len(self._running) >= MAX_OPERATIONS:
            limit = LimitExceeded(f"A connection may run at most {MAX_OPERATIONS} operations at once")
            await self._send("error", message.id, [to_response_error(limit)])
            return
        self._running[message.id] = asyncio.create_task(self._run(message.id, params))

    async def _run(self, operation_id: str, params: http_request.GraphQLParams) -> None:
        try:
            await self._stream_results(operation_id, params)
        except ServerStopping:
            self._end(CloseConnection(websocket_messages.GOING_AWAY, "The server is shutting down"))
        except WebSocketDisconnect as disconnect:
            self._end(disconnect)
        except Exception:
            log.exception("an operation over a websocket failed")
            self._end(CloseConnection(websocket_messages.INTERNAL, "Internal server error"))

    def _end(self, reason: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(reason)

    async def _stream_results(self, operation_id: str, params: http_request.GraphQLParams) -> None:
        logs.request_id.set(secrets.token_hex(8))
        try:
            text = self._socket.app.state.persisted_documents.resolve_text(params.document)
        except persisted_documents.DocumentNotServed as refusal:
            error = {"message": refusal.message, "extensions": {"code": refusal.code}}
            await self._finish(operation_id, OperationResult({"errors": [error]}, is_request_error=True))
            return
        request = unit_of_work.OperationRequest(
            query=text,
            variables=params.variables,
            operation_name=params.operation_name,
            token=self._token,
            address=self._address,
            caller=operation_spans.caller_of(self._socket.headers),
        )
        async for result in self._runner.stream_results(request):
            if "data" not in result.body:
                await self._finish(operation_id, result)
                return
            await self._send("next", operation_id, result.body)
        await self._finish(operation_id, None)

    async def _finish(self, operation_id: str, error: OperationResult | None) -> None:
        """Free the id of an operation, then send that it is over."""
        if self._running.get(operation_id) is asyncio.current_task():
            del self._running[operation_id]
        if error is None:
            await self._send("complete", operation_id)
        else:
            await self._send("error", operation_id, error.body["errors"])

    async def _send(self, message_type: str, operation_id: str | None = None, payload: Any = None) -> None:
        await self._socket.send_text(websocket_messages.encode(message_type, operation_id, payload))
