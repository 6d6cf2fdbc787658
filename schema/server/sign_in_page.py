"""The sign-in page: password, second factor and passkeys. It is built together with GraphiQL."""

import json
import re
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from schema import graphiql
from schema.server.page_problems import PROBLEMS
from schema.server.plain_pages import locale_of, speaker
from services.core.languages import TAGS

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-cache",
    "Vary": "Accept-Language",
}
TEXT_IN_HTML = re.compile(r"\[\[(.+?)\]\]")
# What the page's script says; its HTML has its own texts in double brackets.
SCRIPT_TEXTS = (
    "In use. Recovery codes left: {count}.",
    "Not set up.",
    "One moment …",
    "Remove",
    "Remove the passkey {name}",
    "Sign in with {label}",
    "The authenticator app is removed.",
    "The authenticator app is your second factor.",
    "The passkey is added.",
    "The passkey is removed.",
)


async def sign_in_page(request: Request) -> Response:
    """Return the page in the reader's language, or instructions for building it (status 503)."""
    try:
        html = (graphiql.DIST / "sign-in.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(graphiql.NOT_BUILT, status_code=503, headers=_HEADERS)
    say, site = speaker(request), request.app.state.settings.site_url or "/"
    texts = {text: say(text) for text in (*SCRIPT_TEXTS, *PROBLEMS) if say(text) != text}
    html = TEXT_IN_HTML.sub(lambda match: escape(say(match[1])), html)
    html = html.replace("[lang]", TAGS[locale_of(request)]).replace("[site]", escape(site))
    return HTMLResponse(html.replace("[texts]", escape(json.dumps(texts))), headers=_HEADERS)
