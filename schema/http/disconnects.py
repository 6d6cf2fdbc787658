"""Who hangs up is not worked for: the operation is cancelled, and with it the statement that runs."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")
PATIENCE_SECONDS = 0.05
"""How long an operation runs before somebody looks whether the client is still there: most are done then."""


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Do the work of a request whose body was read; cancel it when the client goes.

    Raises:
        ClientDisconnect: the client is gone.
    """
    task = asyncio.current_task()
    assert task is not None
    watchers: list[asyncio.Task[None]] = []
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(
        PATIENCE_SECONDS, lambda: watchers.append(asyncio.create_task(watch()))
    )
    try:
        return await work
    except asyncio.CancelledError:
        if is_gone and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
