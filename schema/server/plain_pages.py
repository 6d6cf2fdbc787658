"""Pages without scripts: their frame, their forms, and what a mutation behind them has answered."""

from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from models.enums import Locale
from schema import graphiql
from schema.execution.unit_of_work import OperationResult
from services.core.languages import TAGS, choose, translate
from services.core.settings import Settings

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
}
_STYLE = Path(__file__).with_name("pages.css")
_AGAIN = "continue"
"""Parameter of the second request for an address, which comes from our own page."""
MAX_TOKEN_LENGTH = 200
MAX_BODY_BYTES = 10_000
"""Four times the size of the longest password, whatever its characters."""

Say = Callable[[str], str]


async def page_style(_: Request) -> Response:
    """Return the style sheet of all pages."""
    return FileResponse(_STYLE, headers=graphiql.SECURITY_HEADERS | {"Cache-Control": "max-age=3600"})


def locale_of(request: Request) -> Locale:
    """Return the language of a page: what the browser likes best of ours, or else English."""
    return choose(request.headers.get("accept-language", "")) or Locale.EN


def speaker(request: Request) -> Say:
    """Return the function that says an English text in the reader's language."""
    return partial(translate, locale=locale_of(request))


def render_page(
    request: Request, title: str, body: str, *, status: int = 200, head: str = "", is_form: bool = False
) -> HTMLResponse:
    """Return a page in the reader's language that runs no script and sends no referrer.

    Unless it `is_form`, it ends with a way on.
    """
    settings: Settings = request.app.state.settings
    text = (
        f'<!doctype html>\n<html lang="{TAGS[locale_of(request)]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · Commonweal</title>\n"
        f'<link rel="stylesheet" href="/pages.css">\n{head}</head>\n<body>\n'
        f'<header><a href="{escape(settings.site_url or "/")}">Commonweal</a></header>\n'
        f"<main>\n<h1>{escape(title)}</h1>\n{body}\n"
        f"{'' if is_form else _way_on(settings, speaker(request))}</main>\n</body>\n</html>\n"
    )
    return HTMLResponse(text, status_code=status, headers=_HEADERS)


def _way_on(settings: Settings, say: Say) -> str:
    if settings.site_url:
        label = say("Continue to the site")
        return f'<p><a class="button" href="{escape(settings.site_url)}">{escape(label)}</a></p>\n'
    return f'<p><a class="button" href="/sign-in">{escape(say("Go to the sign-in"))}</a></p>\n'


def ask_again(request: Request) -> Response | None:
    """Return a page of ours that asks for the same address again; None if it has done so.

    Browsers send no session cookie when another site leads here. They send it when our own page does.
    """
    query = request.query_params
    if _AGAIN in query and request.method == "GET":
        return None
    say = speaker(request)
    again = escape(f"?{urlencode([*query.multi_items(), (_AGAIN, '1')])}", quote=True)
    link = f'<p><a class="button" href="{again}">{escape(say("Continue"))}</a></p>'
    head = f'<meta http-equiv="refresh" content="0; url={again}">\n'
    return render_page(request, say("Sign in"), link, head=head, is_form=True)


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


def read_payload(
    request: Request, result: OperationResult, *, title: str, form: str = ""
) -> tuple[dict[str, Any], Response | None]:
    """Return the payload of a page's mutation, and the page of its problem, with the form, if it has one."""
    say = speaker(request)
    (payload,) = (result.body.get("data") or {"": None}).values()
    if payload is not None and payload["errors"] == []:
        return payload, None
    errors = payload["errors"] if payload is not None else result.body.get("errors", [])
    message = " ".join(say(error["message"]) for error in errors) or say("Something went wrong.")
    wait = result.retry_after_seconds
    if wait:
        message = say("Too many attempts. Try again in {seconds} seconds.").format(seconds=wait)
    body = f'<p role="alert">{escape(message)}</p>\n{form}'
    page = render_page(request, title, body, status=429 if wait else 400, is_form=bool(form))
    if wait:
        page.headers["Retry-After"] = str(wait)
    return {}, page
