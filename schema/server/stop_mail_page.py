"""The page behind the link in every mail to somebody who never signed up: it stops such mails.

A GET changes nothing, because mail scanners follow links. A POST stops, from the page's form and by the
one click of a mail program (RFC 8058), which sends no cookie and shows no page.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from schema.server.plain_pages import MAX_TOKEN_LENGTH, Say, render_page, speaker
from services.core.errors import NotFound
from services.messaging import stops


async def stop_mail(request: Request) -> Response:
    """Show the form that stops mails; on a POST, stop them."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    say = speaker(request)
    title = say("Stop these mails")
    if request.method != "POST":
        return render_page(request, title, _stop_form(say, token), is_form=True)
    try:
        async with request.app.state.sessions() as session, session.begin():
            await stops.stop(session, token=token)
    except NotFound as problem:
        body = f'<p role="alert">{escape(say(problem.message))}</p>'
        return render_page(request, title, body, status=404)
    done = say("You will get no more such mails. Mails that you ask for yourself, to sign up, still arrive.")
    return render_page(request, title, f'<p role="status">{escape(done)}</p>')


def _stop_form(say: Say, token: str) -> str:
    question = say("Do you want no more mails at this address about what others do on Commonweal?")
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        f"<p>{escape(question)}</p>"
        f"<button>{escape(say('Stop these mails'))}</button></form>"
    )
