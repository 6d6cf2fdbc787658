"""GraphQL as server-sent events: graphql-sse's mode of one connection an operation."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from schema.execution.unit_of_work import Answer, Request
from schema.http.content_negotiation import EVENTS
from schema.http.raw_request import RawHeaders
from schema.realtime.subscription_runner import Live
from services.live.broadcaster import Stopped

KEEP_ALIVE_SECONDS = 12
log = logging.getLogger("commonweal.sse")


class EventStream(Response):
    """The answers of an operation, each as it comes. `live.admit` was asked for its address."""

    media_type = EVENTS

    def __init__(self, live: Live, request: Request, *, headers: RawHeaders) -> None:
        """Answer with the headers, and with what the operation yields."""
        super().__init__()
        self.raw_headers = [*headers, (b"x-accel-buffering", b"no")]
        self._live, self._request = live, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send until all is said or nobody listens, and leave nothing running."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            self._live.leave(self._request.address)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def write(text: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": more})

        await write(b":\n\n")  # the headers go out now, not with the first event
        try:
            async with aclosing(_pulled(self._live.answers(self._request))) as answers:
                async for answer in answers:
                    await write(b":\n\n" if answer is None else _event("next", answer.body))
            await write(_event("complete"))
        except Stopped:
            pass  # without `complete`, so that the client comes back
        except OSError:
            return  # it is gone
        except Exception:
            log.exception("a stream of events failed")
        await write(b"", more=False)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pulled(answers: AsyncGenerator[Answer, None]) -> AsyncGenerator[Answer | None, None]:
    """Yield each answer, and None where there was none for a while."""
    async with aclosing(answers):
        while True:
            coming = asyncio.ensure_future(anext(answers))
            try:
                while not (await asyncio.wait({coming}, timeout=KEEP_ALIVE_SECONDS))[0]:
                    yield None
                yield coming.result()
            except StopAsyncIteration:
                return
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _event(name: str, body: dict[str, Any] | None = None) -> bytes:
    data = b"" if body is None else b" " + orjson.dumps(body, default=str)
    return b"event: %s\ndata:%s\n\n" % (name.encode(), data)
