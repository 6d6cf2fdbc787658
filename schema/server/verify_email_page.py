"""The page that the mailed link opens: a button, because programs that scan mails follow links too."""

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
MAX_TOKEN = 200


async def verify(request: Request) -> Response:
    """Show the button; on a POST, prove the address."""
    token = request.query_params.get("token", "")[:MAX_TOKEN]
    if request.method != "POST":
        return html(
            f'<form method="post" action="?token={escape(token, quote=True)}">'
            "<p>You are about to confirm that this address is yours.</p>"
            "<button>Confirm</button></form>"
        )
    state = request.app.state
    asked = unit_of_work.Request(query=_MUTATION, variables={"i": {"token": token}})
    answer = await unit_of_work.execute(asked, sessions=state.sessions, settings=state.settings)
    payload = (answer.body.get("data") or {}).get("verifyEmail") or {}
    if payload.get("errors") == []:
        return html("<p>Thank you: your address is confirmed. You can sign in now.</p>")
    messages = [error["message"] for error in payload.get("errors", [])]
    return html(f"<p>{escape(' '.join(messages) or 'Something went wrong.')}</p>", status=400)


def html(body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that runs and loads nothing, and tells nobody its address."""
    text = f'<!doctype html><html lang="en"><title>Commonweal</title><h1>Commonweal</h1>{body}</html>'
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
