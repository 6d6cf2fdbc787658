"""GraphQL over server-sent events, in the distinct connections mode of graphql-sse."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schema.execution.operation import encode_json
from schema.execution.unit_of_work import OperationRequest, OperationResult
from schema.http.content_negotiation import EVENTS
from schema.http.raw_request import RawHeaders
from schema.realtime.subscription_runner import SubscriptionRunner
from services.live.broadcaster import ServerStopping

KEEP_ALIVE_SECONDS = 12
log = logging.getLogger("commonweal.sse")


class EventStream(Response):
    """The results of one operation, sent as they come. Callers hold an open connection of the runner."""

    media_type = EVENTS

    def __init__(self, runner: SubscriptionRunner, request: OperationRequest, *, headers: RawHeaders) -> None:
        """Send these headers, then the results of the operation."""
        super().__init__()
        self.raw_headers = [*headers, (b"x-accel-buffering", b"no")]
        self._runner, self._request = runner, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of ASGI
        """Send results until the operation ends or the client disconnects, and leave nothing running."""
        sending = asyncio.ensure_future(self._send(send))
        disconnect = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, disconnect):
                task.cancel()
            await asyncio.gather(sending, disconnect, return_exceptions=True)
            self._runner.close_connection(self._request.address)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def write(text: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": more})

        await write(b":\n\n")  # sends the headers now, not with the first event
        try:
            async with aclosing(_with_keep_alives(self._runner.stream_results(self._request))) as results:
                async for result in results:
                    await write(b":\n\n" if result is None else _encode_event("next", result.body))
            await write(_encode_event("complete"))
        except ServerStopping:
            pass  # no `complete`, so that the client reconnects
        except OSError:
            return  # the client disconnected
        except Exception:
            log.exception("a stream of events failed")
        await write(b"", more=False)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _with_keep_alives(
    results: AsyncGenerator[OperationResult, None],
) -> AsyncGenerator[OperationResult | None, None]:
    """Yield each result, and None whenever there was none for KEEP_ALIVE_SECONDS."""
    async with aclosing(results):
        while True:
            pending = asyncio.ensure_future(anext(results))
            try:
                while not (await asyncio.wait({pending}, timeout=KEEP_ALIVE_SECONDS))[0]:
                    yield None
                yield pending.result()
            except StopAsyncIteration:
                return
            finally:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)


def _encode_event(name: str, body: dict[str, Any] | None = None) -> bytes:
    data = b"" if body is None else b" " + encode_json(body)
    return b"event: %s\ndata:%s\n\n" % (name.encode(), data)
