"""The pages behind the mailed links that confirm or undo a change of address: one button each.

Nothing happens before the button is pressed, because mail scanners follow links, too.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from schema.server.plain_pages import MAX_TOKEN_LENGTH, render_page, speaker
from schema.server.verify_email_page import answer_form

_CONFIRM = (
    "mutation Confirm($i: ConfirmEmailChangeInput!) { confirmEmailChange(input: $i) { errors { message } } }"
)
_UNDO = "mutation Undo($i: UndoEmailChangeInput!) { undoEmailChange(input: $i) { errors { message } } }"


async def confirm_email(request: Request) -> Response:
    """Show the button that confirms a new address; on a POST, change it."""
    say = speaker(request)
    return await _serve(
        request,
        _CONFIRM,
        title=say("Confirm the new address"),
        text=say("You are about to make this the email address of your account."),
        button=say("Confirm the new address"),
        done=say("Thank you: your address is changed."),
    )


async def undo_email(request: Request) -> Response:
    """Show the button that undoes a change of address; on a POST, undo it."""
    say = speaker(request)
    return await _serve(
        request,
        _UNDO,
        title=say("Take your account back"),
        text=say("You are about to take your old email address back. This signs out every device."),
        button=say("Take my address back"),
        done=say(
            "Your address is restored. We have mailed you a link for a new password: please use it now."
        ),
    )


async def _serve(
    request: Request, mutation: str, *, title: str, text: str, button: str, done: str
) -> Response:
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    form = (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p>{escape(text)}</p><button>{escape(button)}</button></form>"
    )
    if request.method != "POST":
        return render_page(request, title, form, is_form=True)
    return await answer_form(
        request, mutation, token=token, title=title, form=form, done=done, with_password=False
    )
