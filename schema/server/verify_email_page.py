"""The page behind the mailed verification link: it asks for the password of the new account.

Nothing happens before the form is sent, because mail scanners follow links, too.
"""

from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from schema import graphiql
from schema.execution import unit_of_work
from services.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

_MUTATION = "mutation Verify($i: VerifyEmailInput!) { verifyEmail(input: $i) { errors { message } } }"
_HEADERS = graphiql.SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
}
MAX_TOKEN_LENGTH = 200
MAX_BODY_BYTES = 10_000
"""Four times the size of the longest password, whatever its characters."""


async def verify(request: Request) -> Response:
    """Show the form for a password; on a POST, verify the email address and set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    title = "You are about to confirm that this address is yours. Choose your password"
    form = password_form(token, title=title, button="Confirm")
    if request.method != "POST":
        return render_page(form)
    return await answer_form(
        request,
        _MUTATION,
        token=token,
        form=form,
        done="Thank you: your address is confirmed. You can sign in now.",
    )


async def answer_form(
    request: Request, mutation: str, *, token: str, form: str, done: str, with_password: bool = True
) -> Response:
    """Run a mutation with the token, and the password in a form; show the form again if it fails."""
    state, client = request.app.state, request.client
    values = {"token": token}
    if with_password:
        values["password"] = (await read_form(request)).get("password", "")
    operation = unit_of_work.OperationRequest(
        query=mutation,
        variables={"i": values},
        address=client.host if client else "",
        device=request.headers.get("user-agent", ""),
    )
    result = await unit_of_work.execute(operation, sessions=state.sessions, settings=state.settings)
    (payload,) = (result.body.get("data") or {"": None}).values()
    if payload is not None and payload["errors"] == []:
        return render_page(f"<p>{escape(done)}</p>")
    errors = payload["errors"] if payload is not None else result.body.get("errors", [])
    message = " ".join(error["message"] for error in errors) or "Something went wrong."
    page = render_page(f"<p>{escape(message)}</p>{form}", status=429 if result.retry_after_seconds else 400)
    if result.retry_after_seconds:
        page.headers["Retry-After"] = str(result.retry_after_seconds)
    return page


def password_form(token: str, *, title: str, button: str) -> str:
    """Return the HTML of a form that asks for a new password."""
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p><label>{title}, {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters: "
        '<input type="password" name="password" '
        f'minlength="{MIN_PASSWORD_LENGTH}" maxlength="{MAX_PASSWORD_LENGTH}" '
        'autocomplete="new-password" required></label></p>'
        f"<button>{button}</button></form>"
    )


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first value of each; none if the form is too long or no form."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return {}
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def render_page(body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that runs no script, loads nothing and sends no referrer."""
    text = f'<!doctype html><html lang="en"><title>Commonweal</title><h1>Commonweal</h1>{body}</html>'
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
