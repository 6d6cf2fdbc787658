"""The page behind the link in every mail to somebody who never signed up: it stops such mails.

A GET changes nothing, because mail scanners follow links. A POST stops, from the page's form and by the
one click of a mail program (RFC 8058), which sends no cookie and shows no page.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from schema.server.plain_pages import MAX_TOKEN_LENGTH, render_page
from services.core.errors import NotFound
from services.messaging import stops


async def stop_mail(request: Request) -> Response:
    """Show the form that stops mails; on a POST, stop them."""
    token = request.query_params.get("token", "")[:MAX_TOKEN_LENGTH]
    if request.method != "POST":
        return render_page(_stop_form(token))
    try:
        async with request.app.state.sessions() as session, session.begin():
            await stops.stop(session, token=token)
    except NotFound as problem:
        return render_page(f"<p>{escape(problem.message)}</p>", status=404)
    return render_page(
        "<p>You will get no more such mails. Mails that you ask for yourself, to sign up, still arrive.</p>"
    )


def _stop_form(token: str) -> str:
    return (
        f'<form method="post" action="?token={escape(token, quote=True)}">'
        "<p>Do you want no more mails at this address about what others do on Commonweal?</p>"
        "<button>Stop these mails</button></form>"
    )
