"""Delivery by the settings: to a server, with user and password, or to the log."""

import logging
from email.message import EmailMessage

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.messaging import delivery
from services.messaging.links import Links
from tests.mail_world import (
    URL,
    MailServer,
    Sessions,
    load_undelivered,
    make_all_due,
    queue_mails,
    run_mail_server,
)


async def test_without_a_mail_server_mails_are_logged(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "commonweal.mail")
    for production in (False, True):
        caplog.clear()
        await queue_mails(sessions, "ada", template="verify_email")
        send = delivery.make_sender(Settings(production=production))
        assert await delivery.deliver_due(sessions, send=send, links=Links(URL)) == 1
        assert ("t0p-Secret" in caplog.text) is not production
        assert ("ada@" in caplog.text) is not production
        assert "example.org" in caplog.text


# Plain authentication without TLS is what is tested; aiosmtpd warns of it in its constructor.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_the_url_holds_user_and_password(sessions: Sessions, smtp: MailServer) -> None:
    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=login == LoginPassword(b"u@x", b"p/w"), handled=False)

    await queue_mails(sessions, "ada")
    options = {"auth_required": True, "auth_require_tls": False, "authenticator": authenticate}
    with run_mail_server(smtp, **options):
        for login, delivered in [("u%40x:wrong@", 0), ("u%40x:p%2Fw@", 1)]:
            settings = Settings(smtp_url=f"smtp://{login}127.0.0.1:{smtp.port}")
            send = delivery.make_sender(settings)
            assert await delivery.deliver_due(sessions, send=send, links=Links(URL)) == delivered
            if not delivered:
                (row,) = await load_undelivered(sessions)
                assert row.last_error == "SMTPAuthenticationError: 535"
                await make_all_due(sessions)


async def test_smtps_never_falls_back_to_plain_text(smtp: MailServer) -> None:
    send = delivery.make_sender(Settings(smtp_url=f"smtps://127.0.0.1:{smtp.port}"))
    message = EmailMessage()
    message["To"] = "ada@example.org"
    with run_mail_server(smtp), pytest.raises(aiosmtplib.SMTPConnectError):
        await send(message)
    assert not smtp.mails


@pytest.mark.parametrize("url", ["http://x", "smtp://", "x", "smtp://u:hidden@h:port"])
def test_a_wrong_url_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        delivery.make_sender(Settings(smtp_url=url))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "nobody", "a@b.c, d@e.f", "a@b.c\nBcc: d@e.f"])
def test_a_wrong_sender_stops_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError):
        delivery.make_sender(Settings(mail_from=address))
