"""The page that takes a gift: one file of HTML and one of script, which other sites can copy."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from schema import graphiql

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-cache",
}
_FOLDER = Path(__file__).parent


async def donation_page(_: Request) -> Response:
    """Return the page; its script finds the collective by the slug in the address."""
    return FileResponse(_FOLDER / "donate.html", headers=_HEADERS)


async def donation_script(_: Request) -> Response:
    """Return the page's script."""
    return FileResponse(_FOLDER / "donate.js", media_type="text/javascript", headers=_HEADERS)
