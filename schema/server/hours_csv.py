"""Download of a nonprofit's approved hours as CSV."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from schema.http import authentication, metering
from schema.http.request import BadRequest
from services.access.collective_refs import CollectiveKey
from services.core.errors import Invalid, Problem
from services.volunteering import hours_csv


async def download_hours(request: Request) -> Response:
    """Stream a nonprofit's approved hours: `nonprofit` (slug), `from` and `until` (days, both inclusive).

    For its ADMINs and ACCOUNTANTs, with a session or a token of scope READ.
    """
    stack = AsyncExitStack()
    try:
        first_day, last_day = _parse_day(request, "from"), _parse_day(request, "until")
        await metering.charge(request, metering.EXPORT_POINTS)
        session = await stack.enter_async_context(request.app.state.sessions())
        actor = await authentication.load_actor(request, session)
        slug = request.query_params.get("nonprofit", "")
        nonprofit = await hours_csv.require_exportable(session, actor, nonprofit=CollectiveKey(slug=slug))
        lines = hours_csv.stream_lines(session, nonprofit=nonprofit, first_day=first_day, last_day=last_day)
        head = await anext(lines)
    except (Problem, BadRequest) as problem:
        await stack.aclose()
        return authentication.problem_response(request, problem)
    except BaseException:
        await stack.aclose()
        raise
    name = f"hours-{nonprofit.slug}-{first_day}-{last_day}.csv"
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


def _parse_day(request: Request, name: str) -> date:
    try:
        return date.fromisoformat(request.query_params.get(name, ""))
    except ValueError:
        raise Invalid("Give a day as YYYY-MM-DD", field=name) from None
