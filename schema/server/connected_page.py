"""The page to which a payment provider sends a host that has agreed to be connected, or has not."""

from html import escape
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from models.enums import ProviderAccountStatus, ProviderName
from schema.server.plain_pages import render_page, speaker
from schema.server.webhooks import DATABASE_AWAY
from services.core.errors import NotFound, Problem
from services.payments import accounts
from services.providers.offered import offered
from services.providers.protocol import ProviderAway

MAX_LENGTH = 1000


async def complete_connection(request: Request) -> Response:
    """Connect the host that began this; its secret in the address is the proof, and works once."""
    name, query, say = request.path_params["provider"].upper(), request.query_params, speaker(request)
    provider = offered(request.app.state.settings).get(ProviderName(name)) if name in _NAMES else None
    if provider is None:
        return _answer(request, say("This payment provider is not offered here."), status=404)
    if "error" in query or "code" not in query:
        refused = say("The host has not agreed to be connected. Nothing has changed.")
        return _answer(request, refused, status=400)
    try:
        connection = await accounts.complete(
            request.app.state.sessions,
            provider,
            state=query.get("state", "")[:MAX_LENGTH],
            code=query["code"][:MAX_LENGTH],
        )
    except Problem as problem:
        status = {NotFound: 404, ProviderAway: 503}.get(type(problem), 400)
        return _answer(request, say(problem.message), status=status)
    except DATABASE_AWAY:
        return _answer(request, say("The database does not answer. Begin again later."), status=503)
    if connection.account.status == ProviderAccountStatus.ACTIVE:
        return _answer(request, say("The host is connected, and takes cards now."))
    waits = say("The host is connected. It takes cards as soon as the provider has checked its account.")
    return _answer(request, waits)


_NAMES = frozenset(ProviderName.__members__)


def _answer(request: Request, message: str, *, status: int = 200) -> Response:
    role = "status" if status == HTTPStatus.OK else "alert"
    body = f'<p role="{role}">{escape(message)}</p>'
    return render_page(request, speaker(request)("Payments by card"), body, status=status)
