"""Pages without scripts: their frame, their forms, and what a mutation behind them has answered."""

from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from schema import graphiql
from schema.execution.unit_of_work import OperationResult

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}
_AGAIN = "continue"
"""Parameter of the second request for an address, which comes from our own page."""
MAX_TOKEN_LENGTH = 200
MAX_BODY_BYTES = 10_000
"""Four times the size of the longest password, whatever its characters."""


def render_page(body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that runs no script, loads nothing and sends no referrer."""
    text = f'<!doctype html><html lang="en"><title>Commonweal</title><h1>Commonweal</h1>{body}</html>'
    return HTMLResponse(text, status_code=status, headers=_HEADERS)


def ask_again(request: Request) -> Response | None:
    """Return a page of ours that asks for the same address again; None if it has done so.

    Browsers send no session cookie when another site leads here. They send it when our own page does.
    """
    query = request.query_params
    if _AGAIN in query and request.method == "GET":
        return None
    again = escape(f"?{urlencode([*query.multi_items(), (_AGAIN, '1')])}", quote=True)
    return render_page(
        f'<meta http-equiv="refresh" content="0; url={again}"><p><a href="{again}">Continue</a></p>'
    )


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first value of each; none if the form is too long or no form."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return {}
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def read_payload(result: OperationResult, *, form: str = "") -> tuple[dict[str, Any], Response | None]:
    """Return the payload of a page's mutation, and the page of its problem, with the form, if it has one."""
    (payload,) = (result.body.get("data") or {"": None}).values()
    if payload is not None and payload["errors"] == []:
        return payload, None
    errors = payload["errors"] if payload is not None else result.body.get("errors", [])
    message = " ".join(error["message"] for error in errors) or "Something went wrong."
    wait = result.retry_after_seconds
    page = render_page(f"<p>{escape(message)}</p>{form}", status=429 if wait else 400)
    if wait:
        page.headers["Retry-After"] = str(wait)
    return {}, page
