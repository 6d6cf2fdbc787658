"""Download of a nonprofit's approved hours as CSV."""

from collections.abc import AsyncIterator
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from schema.http import authentication
from schema.server.csv_download import stream_csv
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey
from services.core.errors import Invalid
from services.volunteering import hours_csv


async def download_hours(request: Request) -> Response:
    """Stream a nonprofit's approved hours: `nonprofit` (slug), `from` and `until` (days, both inclusive).

    For its ADMINs and ACCOUNTANTs, with a session or a token of scope READ.
    """
    try:
        first_day, last_day = _parse_day(request, "from"), _parse_day(request, "until")
    except Invalid as problem:
        return authentication.problem_response(request, problem)

    async def open_file(session: AsyncSession, actor: Actor) -> tuple[str, AsyncIterator[str]]:
        key = CollectiveKey(slug=request.query_params.get("nonprofit", ""))
        nonprofit = await hours_csv.require_exportable(session, actor, nonprofit=key)
        lines = hours_csv.stream_lines(session, nonprofit=nonprofit, first_day=first_day, last_day=last_day)
        return f"hours-{nonprofit.slug}-{first_day}-{last_day}.csv", lines

    return await stream_csv(request, open_file)


def _parse_day(request: Request, name: str) -> date:
    try:
        return date.fromisoformat(request.query_params.get(name, ""))
    except ValueError:
        raise Invalid("Give a day as YYYY-MM-DD", field=name) from None
