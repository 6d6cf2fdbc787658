"""GraphiQL, from files of our own: the page at `/graphql` and the assets it loads.

`python -m schema.graphiql.build` makes the files. Nothing here needs them at import: without them
the API serves as ever, and a browser is told how to build the page.
"""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST = Path(__file__).with_name("dist")

# Monaco writes style elements and GraphiQL's style sheet carries its fonts as `data:` addresses;
# scripts, workers and connections are of our own origin only.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A page that opened this one, or that this one opens, has no hand on it.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# One address answers browsers with the page and programs with JSON, and a new build renames the
# assets, so the page itself is asked for anew each time.
PAGE_HEADERS = SECURITY_HEADERS | {"Cache-Control": "no-cache", "Vary": "Accept"}
ASSET_HEADERS = SECURITY_HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}

NOT_BUILT = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Commonweal GraphiQL</title></head>
  <body>
    <h1>GraphiQL is not built</h1>
    <p>The API answers POST requests at this address. For the page, run once</p>
    <pre>python -m schema.graphiql.build</pre>
    <p>and load it again; the server need not be restarted.</p>
  </body>
</html>
"""


def page() -> HTMLResponse:
    """Answer GraphiQL's page, or how to build it (status 503) where it is not built."""
    try:
        html = (DIST / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(NOT_BUILT, status_code=503, headers=PAGE_HEADERS)
    return HTMLResponse(html, headers=PAGE_HEADERS)


def static_routes() -> list[BaseRoute]:
    """List the routes of the files the page loads, beside which `page` belongs at `/graphql`."""
    files = _HashedFiles(directory=DIST / "assets", check_dir=False)
    return [Mount("/graphiql/assets", app=files, name="graphiql")]


class _HashedFiles(StaticFiles):
    """Files whose names change with their content: a browser may keep them for ever."""

    async def check_config(self) -> None:
        """Accept a missing folder: it may be built while the server runs; until then, 404."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer a file with the headers of an asset; a missing one stays uncached."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as problem:
            problem.headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
            raise
        response.headers.update(ASSET_HEADERS)
        return response
