"""Files about events: the list of attendees as CSV, and calendars that programs subscribe to."""

import hashlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from schema.http import authentication, metering
from schema.http.request import BadRequest
from schema.server.csv_download import stream_csv
from schema.server.plain_pages import MAX_TOKEN_LENGTH
from services.access import actor as actors
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey
from services.collectives import attendee_csv, event_feeds
from services.core.errors import Problem, Unauthenticated
from services.messaging import calendar_files


async def download_attendees(request: Request) -> Response:
    """Stream the list of an event's attendees: `event` (slug).

    For the ADMINs of the event and of its parent, with a session or a token of scope READ.
    """

    async def open_file(session: AsyncSession, actor: Actor) -> tuple[str, AsyncIterator[str]]:
        key = CollectiveKey(slug=request.query_params.get("event", ""))
        event = await attendee_csv.require_readable(session, actor, event=key)
        return f"attendees-{event.slug}.csv", attendee_csv.stream_lines(session, event=event)

    return await stream_csv(request, open_file)


async def serve_public_calendar(request: Request) -> Response:
    """Serve the public events of the collective of the slug in the path, or the public event of that slug."""
    try:
        await metering.charge(request, metering.FILE_POINTS)
        async with request.app.state.sessions() as session:
            row, entries = await event_feeds.load_public_feed(session, slug=request.path_params["slug"])
    except (Problem, BadRequest) as problem:
        return authentication.problem_response(request, problem)
    content = calendar_files.render(entries, name=row.name)
    return _respond(request, content, name=row.slug, caching="public, max-age=300")


async def serve_own_calendar(request: Request) -> Response:
    """Serve the events that a person is registered for: `token`, an access token of the scope CALENDAR.

    Calendar programs send no headers, so the token is in the address, where it opens nothing else.
    """
    try:
        await metering.charge(request, metering.FILE_POINTS)
        async with request.app.state.sessions() as session, session.begin():
            actor = await actors.load(session, token=_read_token(request))
            entries = await event_feeds.load_own_feed(session, actor)
    except (Problem, BadRequest) as problem:
        return authentication.problem_response(request, problem)
    content = calendar_files.render(entries, name="Commonweal")
    return _respond(request, content, name="my-calendar", caching="private, no-cache")


def _read_token(request: Request) -> str:
    token = request.query_params.get("token", "")
    if not 0 < len(token) <= MAX_TOKEN_LENGTH:
        raise Unauthenticated
    return token


def _respond(request: Request, content: bytes, *, name: str, caching: str) -> Response:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'inline; filename="{name}.ics"'
    return Response(content, media_type=calendar_files.CONTENT_TYPE, headers=headers)
