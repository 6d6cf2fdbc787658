"""Downloads of CSV files that are streamed from the database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from schema.http import authentication, metering
from schema.http.request import BadRequest
from services.access.actor import Actor
from services.core.errors import Problem

Open = Callable[[AsyncSession, Actor], Awaitable[tuple[str, AsyncIterator[str]]]]
"""What requires permission, and returns the file's name and its lines."""


async def stream_csv(request: Request, open_file: Open) -> Response:
    """Stream the lines of a file as a download; a problem before the first line is an error response."""
    stack = AsyncExitStack()
    try:
        await metering.charge(request, metering.EXPORT_POINTS)
        session = await stack.enter_async_context(request.app.state.sessions())
        actor = await authentication.load_actor(request, session)
        name, lines = await open_file(session, actor)
        head = await anext(lines)
    except (Problem, BadRequest) as problem:
        await stack.aclose()
        return authentication.problem_response(request, problem)
    except BaseException:
        await stack.aclose()
        raise
    return StreamingResponse(
        _stream_lines(head, lines, stack),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _stream_lines(head: str, lines: AsyncIterator[str], stack: AsyncExitStack) -> AsyncIterator[str]:
    async with stack:
        yield head
        async for line in lines:
            yield line
