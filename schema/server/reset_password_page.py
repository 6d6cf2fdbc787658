"""The page behind the mailed link to reset a password."""

from starlette.requests import Request
from starlette.responses import Response

from schema.server.plain_pages import MAX_TOKEN_LENGTH, render_page
from schema.server.verify_email_page import answer_form, password_form

_MUTATION = "mutation Reset($i: ResetPasswordInput!) { resetPassword(input: $i) { errors { message } } }"


async def reset(request: Request) -> Response:
    """Show the form for a new password; on a POST, set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    form = password_form(token, title="Your new password", button="Change the password")
    if request.method != "POST":
        return render_page(form)
    return await answer_form(
        request,
        _MUTATION,
        token=token,
        form=form,
        done="Your password is changed. You can sign in with it now.",
    )
