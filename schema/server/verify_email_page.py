"""The page behind the mailed verification link: it asks for the password of the new account.

Nothing happens before the form is sent, because mail scanners follow links, too.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from schema.execution import unit_of_work
from schema.server.plain_pages import MAX_TOKEN_LENGTH, read_form, read_payload, render_page
from services.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

_MUTATION = "mutation Verify($i: VerifyEmailInput!) { verifyEmail(input: $i) { errors { message } } }"


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
    _, problem = read_payload(result, form=form)
    return problem or render_page(f"<p>{escape(done)}</p>")


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
