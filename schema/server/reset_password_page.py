"""The page that the mailed link to a new password opens."""

from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from schema.execution import unit_of_work
from schema.server.verify_email_page import MAX_TOKEN, html
from services.identity.authentication import MAX_PASSWORD, MIN_PASSWORD

_MUTATION = "mutation Reset($i: ResetPasswordInput!) { resetPassword(input: $i) { errors { message } } }"
MAX_BODY_BYTES = 10_000
"""A password of the greatest length takes a quarter of it, whatever its characters."""


async def reset(request: Request) -> Response:
    """Ask for a new password; on a POST, set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN]
    if request.method != "POST":
        return html(_form(token))
    password = await _password(request)
    state = request.app.state
    asked = unit_of_work.Request(query=_MUTATION, variables={"i": {"token": token, "password": password}})
    answer = await unit_of_work.execute(asked, sessions=state.sessions, settings=state.settings)
    payload = (answer.body.get("data") or {}).get("resetPassword") or {}
    if payload.get("errors") == []:
        return html("<p>Your password is changed. You can sign in with it now.</p>")
    messages = [error["message"] for error in payload.get("errors", [])]
    wrong = f"<p>{escape(' '.join(messages) or 'Something went wrong.')}</p>"
    return html(f"{wrong}{_form(token)}", status=400)


def _form(token: str) -> str:
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p><label>Your new password, {MIN_PASSWORD} to {MAX_PASSWORD} characters: "
        f'<input type="password" name="password" minlength="{MIN_PASSWORD}" maxlength="{MAX_PASSWORD}" '
        'autocomplete="new-password" required></label></p>'
        "<button>Change the password</button></form>"
    )


async def _password(request: Request) -> str:
    """Return the password of the form; empty, which is none, where there is none or the form is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return ""
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=10)
    except ValueError:
        return ""
    return fields.get("password", [""])[0]
