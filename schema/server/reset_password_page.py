"""The page behind the mailed link to reset a password."""

from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from schema.execution import unit_of_work
from schema.server.verify_email_page import MAX_TOKEN_LENGTH, render_page
from services.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

_MUTATION = "mutation Reset($i: ResetPasswordInput!) { resetPassword(input: $i) { errors { message } } }"
MAX_BODY_BYTES = 10_000
"""Four times the size of the longest password, whatever its characters."""


async def reset(request: Request) -> Response:
    """Show the form for a new password; on a POST, set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    if request.method != "POST":
        return render_page(_form(token))
    password = await _password(request)
    state = request.app.state
    operation = unit_of_work.OperationRequest(
        query=_MUTATION, variables={"i": {"token": token, "password": password}}
    )
    result = await unit_of_work.execute(operation, sessions=state.sessions, settings=state.settings)
    payload = (result.body.get("data") or {}).get("resetPassword") or {}
    if payload.get("errors") == []:
        return render_page("<p>Your password is changed. You can sign in with it now.</p>")
    messages = [error["message"] for error in payload.get("errors", [])]
    message = f"<p>{escape(' '.join(messages) or 'Something went wrong.')}</p>"
    return render_page(f"{message}{_form(token)}", status=400)


def _form(token: str) -> str:
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p><label>Your new password, {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters: "
        '<input type="password" name="password" '
        f'minlength="{MIN_PASSWORD_LENGTH}" maxlength="{MAX_PASSWORD_LENGTH}" '
        'autocomplete="new-password" required></label></p>'
        "<button>Change the password</button></form>"
    )


async def _password(request: Request) -> str:
    """Return the password in the form, or an empty string if it is missing or the form is too long."""
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
