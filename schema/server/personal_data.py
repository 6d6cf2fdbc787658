"""Download of the copy of a person's data, for that person alone."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from schema.http import authentication, metering
from schema.http.request import BadRequest
from schema.server.plain_pages import ask_again
from services.core import public_ids
from services.core.errors import NotFound, Problem
from services.orders import personal_exports


async def download_my_data(request: Request) -> Response:
    """Send the zip file to whom it is about, signed in with a session; 404 to everybody else.

    The link is in a mail. If that is read in a browser, another site leads here, and our own page asks again.
    """
    if _comes_from_elsewhere(request) and (page := ask_again(request)) is not None:
        return page
    try:
        await metering.charge(request, metering.FILE_POINTS)
        return await _send(request)
    except (Problem, BadRequest) as problem:
        return authentication.problem_response(request, problem)


def _comes_from_elsewhere(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site", "none").lower()
    return "authorization" not in request.headers and site not in authentication.OWN_SITES


async def _send(request: Request) -> Response:
    state = request.app.state
    not_found = NotFound("There is no such file, or you are not signed in as whom it is about.")
    try:
        export_id = public_ids.decode("DataExport", request.path_params["id"], field="id")
    except Problem:
        raise not_found from None
    async with state.sessions() as session, session.begin():
        actor = await authentication.load_actor(request, session)
        row = await personal_exports.find(session, actor, export_id=export_id)
    if row is None:
        raise not_found
    path = personal_exports.export_path(row, folder=state.settings.data_dir / "exports")
    if not path.is_file():
        raise not_found
    return FileResponse(
        path,
        media_type="application/zip",
        headers={"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"},
        content_disposition_type="attachment",
        filename="commonweal-my-data.zip",
    )
