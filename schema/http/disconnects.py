"""Cancel the operation, and its running statement, when the client disconnects."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")
WATCH_AFTER_SECONDS = 0.05
"""How long an operation runs before we watch for a disconnect; most finish sooner."""


async def cancel_on_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """Await the work of a request whose body has been read; cancel it if the client disconnects.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    task = asyncio.current_task()
    assert task is not None
    watchers: list[asyncio.Task[None]] = []
    is_disconnected = False

    async def watch() -> None:
        nonlocal is_disconnected
        while (await receive())["type"] != "http.disconnect":
            pass
        is_disconnected = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(
        WATCH_AFTER_SECONDS, lambda: watchers.append(asyncio.create_task(watch()))
    )
    try:
        return await work
    except asyncio.CancelledError:
        if is_disconnected and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
