"""Where payment providers tell what happened, and the pretended provider's form."""

import json

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.enums import ProviderName
from services.core.errors import NotFound, Problem
from services.payments import fake_payments, intake
from services.providers.offered import offered
from services.providers.protocol import Forged, PaymentProvider

_HEADERS = {"Cache-Control": "no-store"}
_RETRY_SECONDS = "5"
DATABASE_AWAY = (DBAPIError, PoolTimeout, OSError)


async def receive(request: Request) -> Response:
    """Store what a provider tells, once, and leave the rest to a job: 200, also for what was told before.

    400 if it does not prove to be the provider's or cannot be stored, 404 for a provider that is not offered,
    413 if it is too long, 503 while the database is away: the provider tells it again later.
    """
    provider = _provider(request, request.path_params["provider"].upper())
    if provider is None:
        return _answer(404, "There is no such payment provider here.")
    body = await _read_body(request)
    if body is None:
        return _answer(413, "The event is too long.")
    try:
        async with request.app.state.sessions.begin() as session:
            await intake.receive(session, provider, headers=request.headers, body=body)
    except Forged as refused:
        return _answer(400, str(refused))
    except (DataError, IntegrityError, RecursionError):
        return _answer(400, "The event cannot be stored.")
    except DATABASE_AWAY:
        return _answer_away("Send the event again.")
    return JSONResponse({"received": True}, headers=_HEADERS)


async def pay_with_fake_card(request: Request) -> Response:
    """Pay with a pretended card: a JSON object with clientSecret, number and, after a step, stepDone."""
    provider = _provider(request, ProviderName.FAKE)
    if provider is None:
        return _answer(404, "There is no such payment provider here.")
    body = await _read_body(request)
    if body is None:
        return _answer(413, "The body is too long.")
    try:
        fields = json.loads(body)
        secret, number = str(fields["clientSecret"]), str(fields["number"])
        is_step_done = fields.get("stepDone") is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _answer(400, "Send a JSON object with clientSecret and number.")
    try:
        async with request.app.state.sessions.begin() as session:
            outcome = await fake_payments.pay(
                session, provider, client_secret=secret, number=number, is_step_done=is_step_done
            )
    except Problem as problem:
        return _answer(404 if isinstance(problem, NotFound) else 400, problem.message)
    except DATABASE_AWAY:
        return _answer_away("Try again.")
    return JSONResponse({"outcome": outcome}, headers=_HEADERS)


def _provider(request: Request, name: str) -> PaymentProvider | None:
    providers = offered(request.app.state.settings)
    return providers.get(ProviderName(name)) if name in ProviderName.__members__ else None


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or None if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > intake.MAX_BYTES:
            return None
    return bytes(body)


def _answer(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"errors": [{"message": message}]}, status, headers=_HEADERS | headers)


def _answer_away(advice: str) -> Response:
    return _answer(503, f"The database does not answer. {advice}", **{"Retry-After": _RETRY_SECONDS})
