"""The page behind the mailed link to reset a password."""

from starlette.requests import Request
from starlette.responses import Response

from schema.server.plain_pages import MAX_TOKEN_LENGTH, render_page, speaker
from schema.server.verify_email_page import answer_form, password_form

_MUTATION = "mutation Reset($i: ResetPasswordInput!) { resetPassword(input: $i) { errors { message } } }"


async def reset(request: Request) -> Response:
    """Show the form for a new password; on a POST, set it."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    say = speaker(request)
    title = say("Choose a new password")
    intro = say("The new password replaces the old one, and signs out every device.")
    form = password_form(say, token, intro=intro, button=say("Change the password"))
    if request.method != "POST":
        return render_page(request, title, form, is_form=True)
    return await answer_form(
        request,
        _MUTATION,
        token=token,
        title=title,
        form=form,
        done=say("Your password is changed. You can sign in with it now."),
    )
