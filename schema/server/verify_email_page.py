"""The page behind the mailed verification link: a button, because mail scanners follow links too."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from schema import graphiql
from schema.execution import unit_of_work

_MUTATION = "mutation Verify($i: VerifyEmailInput!) { verifyEmail(input: $i) { errors { message } } }"
_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}
MAX_TOKEN_LENGTH = 200


async def verify(request: Request) -> Response:
    """Show the button; on a POST, verify the email address."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    if request.method != "POST":
        return render_page(
            f'<form method="post" action="?token={escape(token, quote=True)}">'
            "<p>You are about to confirm that this address is yours.</p>"
            "<button>Confirm</button></form>"
        )
    state = request.app.state
    operation = unit_of_work.OperationRequest(query=_MUTATION, variables={"i": {"token": token}})
    result = await unit_of_work.execute(operation, sessions=state.sessions, settings=state.settings)
    payload = (result.body.get("data") or {}).get("verifyEmail") or {}
    if payload.get("errors") == []:
        return render_page("<p>Thank you: your address is confirmed. You can sign in now.</p>")
    messages = [error["message"] for error in payload.get("errors", [])]
    return render_page(f"<p>{escape(' '.join(messages) or 'Something went wrong.')}</p>", status=400)


def render_page(body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that runs no script, loads nothing and sends no referrer."""
    text = f'<!doctype html><html lang="en"><title>Commonweal</title><h1>Commonweal</h1>{body}</html>'
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
