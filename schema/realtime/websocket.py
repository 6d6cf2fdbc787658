"""GraphQL over websockets: the protocol graphql-transport-ws, and no other."""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from schema.documents import persisted_documents
from schema.execution import unit_of_work
from schema.execution.unit_of_work import Answer
from schema.http import authentication, origins
from schema.http import request as http_request
from schema.http.raw_request import through_asgi
from schema.http.request import BadRequest
from schema.observability import logs
from schema.realtime import websocket_messages
from schema.realtime.subscription_runner import Live
from schema.realtime.websocket_messages import Closed, Message
from schema.types.errors import shown
from services.core.errors import LimitExceeded, Problem
from services.live.broadcaster import AWAY, Stopped

MAX_OPERATIONS = 20
"""That run at once on one connection, subscriptions and others."""
log = logging.getLogger("commonweal.websocket")


async def endpoint(socket: WebSocket) -> None:
    """Serve a connection until one side closes it."""
    state = socket.app.state
    live: Live = state.live
    headers = socket.headers
    if not origins.allowed(
        state.settings, origin=headers.get("origin"), host=headers.get("host", ""), scheme=socket.url.scheme
    ):
        await socket.send_denial_response(PlainTextResponse("This origin may not connect\n", 403))
        return
    address = socket.client.host if socket.client else ""
    if not live.admit(address):
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
        await _Connection(socket, live, address).serve()
    except WebSocketDisconnect:
        pass  # it is gone
    finally:
        live.leave(address)


class _Connection:
    """One connection: who it is, and what runs for it."""

    def __init__(self, socket: WebSocket, live: Live, address: str) -> None:
        self._socket, self._live, self._address = socket, live, address
        self._token: str | None = None
        self._is_known = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with what an operation says of the whole connection."""

    async def serve(self) -> None:
        """Answer until the connection ends, and leave nothing running."""
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({reading, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            await (self._ended if self._ended.done() else reading)
        except Closed as end:
            with suppress(WebSocketDisconnect, RuntimeError):  # it may have closed meanwhile
                await self._socket.close(end.code, end.reason)
        finally:
            left = [reading, *self._running.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if not self._ended.cancel():
                self._ended.exception()  # it is known by now

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._live.settings.live_init_seconds):
                while not self._is_known:
                    await self._take(await self._received())
        except TimeoutError:
            raise Closed(websocket_messages.INIT_TIMEOUT, "Connection initialisation timeout") from None
        while True:
            await self._take(await self._received())

    async def _received(self) -> Message:
        given = await self._socket.receive()
        if given["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(given.get("code", 1005))
        return websocket_messages.read(dict(given))

    async def _take(self, message: Message) -> None:
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
                pass  # a pong that nobody asked for

    async def _init(self, message: Message) -> None:
        if self._is_known:
            raise Closed(websocket_messages.INIT_AGAIN, "Too many initialisation requests")
        try:
            self._token = (
                websocket_messages.token(message)
                or authentication.find(through_asgi(self._socket.scope)).token
            )
            await self._live.require_viewer(self._token)
        except BadRequest as bad:
            raise Closed(websocket_messages.FORBIDDEN, bad.message) from None
        except Problem as problem:
            raise Closed(websocket_messages.FORBIDDEN, problem.message) from None
        except AWAY:
            raise Closed(websocket_messages.INTERNAL, "The database does not answer") from None
        self._is_known = True
        await self._send("connection_ack")

    async def _subscribe(self, message: Message) -> None:
        if not self._is_known:
            raise Closed(websocket_messages.UNAUTHORIZED, "Unauthorized")
        if message.id in self._running:
            raise Closed(websocket_messages.ID_IN_USE, f"Subscriber for {message.id[:50]} already exists")
        asked = websocket_messages.asked(message)
        if len(self._running) >= MAX_OPERATIONS:
            limit = LimitExceeded(f"At most {MAX_OPERATIONS} operations at once on one connection")
            await self._send("error", message.id, [shown(limit)])
            return
        self._running[message.id] = asyncio.create_task(self._run(message.id, asked))

    async def _run(self, name: str, asked: http_request.Asked) -> None:
        try:
            await self._answer(name, asked)
        except Stopped:
            self._end(Closed(websocket_messages.GOING_AWAY, "The server stops"))
        except WebSocketDisconnect as gone:
            self._end(gone)
        except Exception:
            log.exception("an operation over a websocket failed")
            self._end(Closed(websocket_messages.INTERNAL, "Internal server error"))

    def _end(self, reason: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(reason)

    async def _answer(self, name: str, asked: http_request.Asked) -> None:
        logs.request_id.set(secrets.token_hex(8))
        try:
            text = self._socket.app.state.persisted.text_of(asked.document)
        except persisted_documents.Unknown as unknown:
            error = {"message": unknown.message, "extensions": {"code": unknown.code}}
            await self._finish(name, Answer({"errors": [error]}, is_request_error=True))
            return
        request = unit_of_work.Request(
            query=text,
            variables=asked.variables,
            operation_name=asked.operation_name,
            token=self._token,
            address=self._address,
        )
        async for answer in self._live.answers(request):
            if "data" not in answer.body:
                await self._finish(name, answer)
                return
            await self._send("next", name, answer.body)
        await self._finish(name, None)

    async def _finish(self, name: str, error: Answer | None) -> None:
        """Say that an operation is over, once its id is free again."""
        if self._running.get(name) is asyncio.current_task():
            del self._running[name]
        if error is None:
            await self._send("complete", name)
        else:
            await self._send("error", name, error.body["errors"])

    async def _send(self, kind: str, name: str | None = None, payload: Any = None) -> None:
        await self._socket.send_text(websocket_messages.written(kind, name, payload))
