"""Receipts over HTTP: a file up, a file down."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from models import Receipt
from schema.http import authentication
from schema.http.request import BadRequest
from schema.types.errors import masked
from services.core import public_ids
from services.core.errors import Invalid, NotFound, Problem, RateLimited
from services.orders import receipts

log = logging.getLogger("commonweal.receipts")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


async def upload(request: Request) -> Response:
    """Keep the body, a file of the kind that Content-Type says, as the user's receipt.

    For a user with a session or a token (scope ORDERS), at most 100 times a day: 201 with id, contentType and
    sizeBytes. 413 above 15 MB, 415 for another kind than JPEG, PNG, WebP and PDF.
    """
    return await _answered(request, _kept)


async def download(request: Request) -> Response:
    """Give back a receipt to those who may see it; 404 to everybody else."""
    return await _answered(request, _found)


async def _answered(request: Request, work: Any) -> Response:
    try:
        answer: Response = await work(request)
    except ClientDisconnect:
        return Response(status_code=400)
    except (BadRequest, Problem) as problem:
        refusal = authentication.refused(request, problem, status=_status(problem))
        # What is left of a body is not read: the connection ends.
        refusal.headers["Connection"] = "close"
        return refusal
    except (DBAPIError, PoolTimeout, OSError) as fault:
        return Response(
            orjson.dumps({"errors": [masked(fault)]}), status_code=500, media_type="application/json"
        )
    return answer


def _status(problem: Problem | BadRequest) -> int | None:
    if isinstance(problem, receipts.TooLarge):
        return 413
    if isinstance(problem, receipts.WrongType):
        return 415
    return None


async def _kept(request: Request) -> Response:
    state, folder = request.app.state, _folder(request)
    async with state.sessions() as session, session.begin():
        actor = await authentication.actor_of(request, session)
        may_send = await receipts.count_upload(session, actor)
    if not may_send:  # which was counted, too
        raise RateLimited("Too many files today; try again tomorrow")
    # No connection is kept while the file arrives.
    file = await receipts.received(_body(request), content_type=_kind(request), folder=folder)
    try:
        async with state.sessions() as session, session.begin():
            row: Receipt = await receipts.add(session, actor, upload=file, folder=folder)
    finally:
        file.path.unlink(missing_ok=True)
    body = {
        "id": public_ids.encode("Receipt", row.id),
        "contentType": row.content_type,
        "sizeBytes": row.size_bytes,
    }
    return Response(
        orjson.dumps(body),
        status_code=201,
        media_type="application/json",
        headers={"Location": f"/receipts/{body['id']}"},
    )


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request) -> AsyncIterator[bytes]:
    """Yield what arrives; refuse at once what announces too much."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > receipts.MAX_BYTES:
        raise receipts.TooLarge
    async for chunk in request.stream():
        yield chunk


async def _found(request: Request) -> Response:
    nothing = NotFound("There is no such receipt")
    public_id = request.path_params["id"]
    try:
        receipt_id = public_ids.decode("Receipt", public_id, path=["id"])
    except Invalid:
        raise nothing from None
    async with request.app.state.sessions() as session:
        actor = await authentication.actor_of(request, session)
        row = await receipts.find(session, actor, receipt_id=receipt_id)
    if row is None:
        raise nothing
    place = receipts.path_of(row, folder=_folder(request))
    if not place.is_file():
        log.error("the bytes of receipt %s are missing", public_id)
        raise nothing
    return FileResponse(
        place,
        media_type=row.content_type,
        headers=_HEADERS,
        content_disposition_type="attachment",
        filename=public_id + receipts.ENDINGS[row.content_type],
    )


def _folder(request: Request) -> Path:
    folder: Path = request.app.state.settings.data_dir / "receipts"
    return folder
