"""The page behind the mailed verification link: it asks for the password of the new account.

Nothing happens before the form is sent, because mail scanners follow links, too.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from schema.execution import unit_of_work
from schema.server.plain_pages import MAX_TOKEN_LENGTH, Say, read_form, read_payload, render_page, speaker
from services.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

_MUTATION = "mutation Verify($i: VerifyEmailInput!) { verifyEmail(input: $i) { errors { message } } }"


async def verify(request: Request) -> Response:
    """Show the form for a password; on a POST, verify the email address and set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    say = speaker(request)
    title = say("Confirm your address")
    intro = say("You are about to confirm that this address is yours. Choose your password.")
    form = password_form(say, token, intro=intro, button=say("Confirm"))
    if request.method != "POST":
        return render_page(request, title, form, is_form=True)
    return await answer_form(
        request,
        _MUTATION,
        token=token,
        title=title,
        form=form,
        done=say("Thank you: your address is confirmed. You can sign in now."),
    )


async def answer_form(
    request: Request,
    mutation: str,
    *,
    token: str,
    title: str,
    form: str,
    done: str,
    with_password: bool = True,
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
        language=request.headers.get("accept-language", ""),
    )
    result = await unit_of_work.execute(operation, sessions=state.sessions, settings=state.settings)
    _, problem = read_payload(request, result, title=title, form=form)
    return problem or render_page(request, title, f'<p role="status">{escape(done)}</p>')


def password_form(say: Say, token: str, *, intro: str, button: str) -> str:
    """Return the HTML of a form that asks for a new password."""
    rule = say("{least} to {most} characters.").format(least=MIN_PASSWORD_LENGTH, most=MAX_PASSWORD_LENGTH)
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p>{escape(intro)}</p>"
        f"<label>{escape(say('New password'))} "
        '<input type="password" name="password" aria-describedby="rule" '
        f'minlength="{MIN_PASSWORD_LENGTH}" maxlength="{MAX_PASSWORD_LENGTH}" '
        'autocomplete="new-password" required></label>'
        f'<p id="rule" class="hint">{escape(rule)}</p>'
        f"<button>{escape(button)}</button></form>"
    )
