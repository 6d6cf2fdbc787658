"""Points for requests that are no GraphQL operation."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from schema.http import authentication
from schema.http.raw_request import from_scope
from schema.plan.cost_weights import CREDENTIAL_COST
from services.access.rate_limits import Buckets, InsufficientPoints

Page = Callable[[Request], Awaitable[Response]]
PAGE_POINTS = 1
FORM_POINTS = CREDENTIAL_COST
FILE_POINTS = 20
"""Sending or receiving a file."""
EXPORT_POINTS = 200
"""An export, which reads as much as a few pages of a list."""


def metered(page: Page) -> Page:
    """Return a page whose network address pays for each request, as much for a form as for a mutation."""

    async def charge_and_serve(request: Request) -> Response:
        points = PAGE_POINTS if request.method in {"GET", "HEAD"} else FORM_POINTS
        try:
            await _charge(request, points, token=None)
        except InsufficientPoints as refused:
            headers = {"Retry-After": str(refused.retry_after_seconds), "Cache-Control": "no-store"}
            return PlainTextResponse("Too many requests; try again later.\n", 429, headers=headers)
        return await page(request)

    return charge_and_serve


async def charge(request: Request, points: int) -> None:
    """Charge a request to its user's bucket, or to its network address's.

    Raises:
        BadRequest: as `authentication.credentials_of`.
        InsufficientPoints: the bucket has too few points.
    """
    await _charge(request, points, token=authentication.credentials_of(from_scope(request.scope)).token)


async def _charge(request: Request, points: int, *, token: str | None) -> None:
    buckets: Buckets = request.app.state.buckets
    address = request.client.host if request.client else ""
    key = await buckets.bucket_key(token=token, address=address)
    if key is not None:
        buckets.raise_if_empty(key)
        await buckets.reserve(key, points)
