"""The page that takes a gift: one file of HTML and one of script, which other sites can copy."""

import asyncio
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

_OWN = "'self'"
_STRIPE_SCRIPTS, _STRIPE_API = "https://js.stripe.com https://*.js.stripe.com", "https://api.stripe.com"
_STRIPE_FRAMES = f"{_STRIPE_SCRIPTS} https://hooks.stripe.com"
"""What Stripe's form needs, as its documentation has it."""
# Banks' pages and wallets that Stripe opens answer the page that opened them.
_WITH_POPUPS = {"Cross-Origin-Opener-Policy": "same-origin-allow-popups"}
_FOLDER = Path(__file__).parent
# What the page's script says; its HTML has its own texts in double brackets.
SCRIPT_TEXTS = (
    "as agreed with the host",
    "Bank transfer",
    "Give to {name}",
    "Nothing waits here. Sign in as the giver, then open the link again.",
    "Stripe's form cannot be loaded. Try again, or pay in another way.",
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
    "You pay {total} with the tip.",
    "Your gift of {amount} waits for you.",
    "{net} arrive. Fees: payment {payment}, host {host}, platform {platform}.",
)


async def donation_page(request: Request) -> Response:
    """Return the page in the reader's language; its script finds the collective by the slug in the address.

    Only where Stripe is offered may the page load Stripe's script and frames.
    """
    say = speaker(request)
    html = await asyncio.to_thread((_FOLDER / "donate.html").read_text, encoding="utf-8")
    texts = {text: say(text) for text in (*SCRIPT_TEXTS, *GIFT_PROBLEMS) if say(text) != text}
    html = TEXT_IN_HTML.sub(lambda match: escape(say(match[1])), html)
    html = html.replace("[lang]", TAGS[locale_of(request)])
    html = html.replace("[texts]", escape(json.dumps(texts)))
    key = request.app.state.settings.stripe_public_key
    if not key:
        return HTMLResponse(html, headers=_headers(_OWN, _OWN, "'none'"))
    headers = _headers(f"{_OWN} {_STRIPE_SCRIPTS}", f"{_OWN} {_STRIPE_API}", _STRIPE_FRAMES) | _WITH_POPUPS
    meta = f'<meta name="stripe-key" content="{escape(key, quote=True)}">\n</head>'
    return HTMLResponse(html.replace("</head>", meta, 1), headers=headers)


async def donation_script(_: Request) -> Response:
    """Return the page's script."""
    headers = _headers(_OWN, _OWN, "'none'")
    return FileResponse(_FOLDER / "donate.js", media_type="text/javascript", headers=headers)


def _headers(scripts: str, connections: str, frames: str) -> dict[str, str]:
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; connect-src {connections}; "
        f"frame-src {frames}; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    return graphiql.SECURITY_HEADERS | {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Language",
    }
