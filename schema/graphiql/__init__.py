"""GraphiQL, served from our own files: the page at `/graphql` and its assets.

`python -m schema.graphiql.build` builds the files. Without them the API still works, and browsers get a page
that says how to build them.
"""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST = Path(__file__).with_name("dist")

# Monaco inserts style elements, and GraphiQL's style sheet embeds its fonts as `data:` URLs; scripts, workers
# and connections come from our own origin only.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Pages that opened this one, or that it opens, get no handle on it.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# The same URL serves the page to browsers and JSON to programs, and a new build renames the assets, so
# browsers must revalidate the page each time.
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
    """Return GraphiQL's page, or instructions for building it (status 503)."""
    try:
        html = (DIST / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(NOT_BUILT, status_code=503, headers=PAGE_HEADERS)
    return HTMLResponse(html, headers=PAGE_HEADERS)


def static_routes() -> list[BaseRoute]:
    """Return the routes of the page's assets; the page itself is served at `/graphql`."""
    files = _HashedFiles(directory=DIST / "assets", check_dir=False)
    return [Mount("/graphiql/assets", app=files, name="graphiql")]


class _HashedFiles(StaticFiles):
    """Files named by a hash of their content, which browsers may cache for ever."""

    async def check_config(self) -> None:
        """Accept a missing folder, because it may be built while the server runs; until then, return 404."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file with the headers of an asset; a 404 is not cached."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as problem:
            problem.headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
            raise
        response.headers.update(ASSET_HEADERS)
        return response
