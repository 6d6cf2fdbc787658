"""The sign-in page: password, second factor and passkeys. It is built together with GraphiQL."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from schema import graphiql

_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-cache",
}


async def sign_in_page(_: Request) -> Response:
    """Return the page, or instructions for building it (status 503)."""
    try:
        html = (graphiql.DIST / "sign-in.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(graphiql.NOT_BUILT, status_code=503, headers=_HEADERS)
    return HTMLResponse(html, headers=_HEADERS)
