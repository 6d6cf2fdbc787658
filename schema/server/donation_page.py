"""The page that takes a gift: one file of HTML and one of script, which other sites can copy."""

import json
from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from schema import graphiql
from schema.server.page_problems import GIFT_PROBLEMS
from schema.server.plain_pages import locale_of, speaker
from schema.server.sign_in_page import TEXT_IN_HTML
from services.core.languages import TAGS

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-cache",
    "Vary": "Accept-Language",
}
_FOLDER = Path(__file__).parent
# What the page's script says; its HTML has its own texts in double brackets.
SCRIPT_TEXTS = (
    "as agreed with the host",
    "Bank transfer",
    "Give to {name}",
    "Thank you! Please transfer the amount with this reference. A mail asks for each further transfer.",
    "Thank you! Please transfer the amount with this reference. The receipt comes by mail.",
    "Thank you! Your donation is complete. The receipt comes by mail.",
    "The card was declined. Try another one.",
    "The payment is not complete yet. The receipt comes by mail once it is; without one within a day, nothing"
    " was paid.",
    "The payment is on its way …",
    "The payment was refused.",
    "There is no such collective.",
    "This collective takes no donations now.",
    "You give as {name}.",
    "{net} arrive. Fees: payment {payment}, host {host}, platform {platform}.",
)


async def donation_page(request: Request) -> Response:
    """Return the page in the reader's language; its script finds the collective by the address."""
    say = speaker(request)
    html = (_FOLDER / "donate.html").read_text(encoding="utf-8")
    texts = {text: say(text) for text in (*SCRIPT_TEXTS, *GIFT_PROBLEMS) if say(text) != text}
    html = TEXT_IN_HTML.sub(lambda match: escape(say(match[1])), html)
    html = html.replace("[lang]", TAGS[locale_of(request)])
    return HTMLResponse(html.replace("[texts]", escape(json.dumps(texts))), headers=_HEADERS)


async def donation_script(_: Request) -> Response:
    """Return the page's script."""
    return FileResponse(_FOLDER / "donate.js", media_type="text/javascript", headers=_HEADERS)
