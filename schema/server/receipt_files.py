"""Upload and download of receipt files over HTTP."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from models import Receipt
from schema.http import authentication, metering
from schema.http.request import BadRequest
from schema.types.errors import mask_error
from services.core import file_stores, public_ids
from services.core.errors import Invalid, NotFound, Problem, RateLimited
from services.core.file_stores import FileMissing
from services.orders import receipts

log = logging.getLogger("commonweal.receipts")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


async def upload(request: Request) -> Response:
    """Store the body, a file of the type in Content-Type, as the user's receipt.

    For users with a session or a token of scope ORDERS, at most 100 times a day: 201 with id, contentType and
    sizeBytes. 413 above 15 MB, and beyond COMMONWEAL_UPLOAD_QUOTA_MB in all; 415 for types other than JPEG,
    PNG, WebP and PDF.
    """
    return await _respond(request, _store)


async def download(request: Request) -> Response:
    """Send a receipt to users who may see it; 404 to everybody else."""
    return await _respond(request, _send_file)


async def _respond(request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        await metering.charge(request, metering.FILE_POINTS)
        return await handler(request)
    except ClientDisconnect:
        return Response(status_code=400)
    except (BadRequest, Problem) as problem:
        refusal = authentication.problem_response(request, problem, status=_status(problem))
        # The rest of the body is not read, so the connection must close.
        refusal.headers["Connection"] = "close"
        return refusal
    except (DBAPIError, PoolTimeout, OSError) as error:
        return Response(
            orjson.dumps({"errors": [mask_error(error)]}), status_code=500, media_type="application/json"
        )


def _status(problem: Problem | BadRequest) -> int | None:
    if isinstance(problem, receipts.TooLarge | receipts.QuotaExceeded):
        return 413
    if isinstance(problem, receipts.WrongType):
        return 415
    return None


async def _store(request: Request) -> Response:
    state = request.app.state
    folder = file_stores.working_folder(state.settings)
    quota_bytes = state.settings.upload_quota_mb * 1_000_000
    async with state.sessions() as session, session.begin():
        actor = await authentication.load_actor(request, session)
        may_send = await receipts.consume_upload_attempt(session, actor)
    if not may_send:  # a refused upload counts, too
        raise RateLimited("Too many files today; try again tomorrow")
    # Hold no connection while the file arrives.
    file = await receipts.receive_upload(_body(request), content_type=_content_type(request), folder=folder)
    try:
        async with state.sessions() as session:
            await receipts.require_room(session, actor, size_bytes=file.size_bytes, quota_bytes=quota_bytes)
        # Nor while the store takes it.
        await state.file_store.put(file.name, file.path)
        async with state.sessions() as session, session.begin():
            row: Receipt = await receipts.add_receipt(session, actor, upload=file, quota_bytes=quota_bytes)
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


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; refuse at once if its announced length is too large."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > receipts.MAX_BYTES:
        raise receipts.TooLarge
    async for chunk in request.stream():
        yield chunk


async def _send_file(request: Request) -> Response:
    not_found = NotFound("There is no such receipt")
    public_id = request.path_params["id"]
    try:
        receipt_id = public_ids.decode("Receipt", public_id, field="id")
    except Invalid:
        raise not_found from None
    async with request.app.state.sessions() as session:
        actor = await authentication.load_actor(request, session)
        row = await receipts.find_receipt(session, actor, receipt_id=receipt_id)
    if row is None:
        raise not_found
    reading = AsyncExitStack()
    try:
        path = await reading.enter_async_context(request.app.state.file_store.opened(row.sha256.hex()))
    except FileMissing:
        log.warning("the bytes of receipt %s are missing", public_id)
        raise not_found from None
    return _ReceiptResponse(
        path,
        reading,
        media_type=row.content_type,
        headers=_HEADERS,
        content_disposition_type="attachment",
        filename=public_id + receipts.FILE_EXTENSIONS[row.content_type],
    )


class _ReceiptResponse(FileResponse):
    """A file that is given back to its store once it is sent, or cannot be sent."""

    def __init__(self, path: Path, reading: AsyncExitStack, **options: Any) -> None:
        super().__init__(path, **options)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._reading:
            await super().__call__(scope, receive, send)
