"""Delivery of the outbox, to a real mail server on loopback."""

import ast
import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Collective, Order, Outbox, new_id
from models.enums import CollectiveType, OrderStatus, OrderType
from services import database, mail, orders, outbox
from services.errors import ConfigurationError
from services.mail_templates import TEMPLATES
from services.settings import Settings
from services.settlement import Party

Sessions = async_sessionmaker[AsyncSession]
URL = "https://commonweal.example"
SERVICES = Path(mail.__file__).parent
EVIL = "Mallory\r\nBcc: victim@example.org\r\n\r\nfree money \u2028\u202ereversed"


@dataclass
class MailServer:
    """A handler of aiosmtpd that keeps what it gets, or answers `refusal`."""

    port: int
    refusal: str = ""
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take a mail, or refuse it."""
        if self.refusal:
            return self.refusal
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def mails(self) -> list[EmailMessage]:
        """What it got."""
        contents = [one.content for one in self.envelopes if isinstance(one.content, bytes)]
        return [message_from_bytes(one, policy=policy.default) for one in contents]

    @property
    def settings(self) -> Settings:
        """Settings that send to it."""
        url = f"smtp://127.0.0.1:{self.port}"
        return Settings(smtp_url=url, public_url=URL, outbox_interval_ms=20)


@contextmanager
def running(smtp: MailServer, **options: Any) -> Iterator[None]:
    controller = Controller(smtp, hostname="127.0.0.1", port=smtp.port, **options)
    controller.start()
    try:
        yield
    finally:
        controller.stop()


@pytest.fixture
def smtp() -> MailServer:
    """A mail server that is not started yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return MailServer(free.getsockname()[1])


async def queue(sessions: Sessions, *names: str, template: str = "address_in_use") -> None:
    async with sessions.begin() as session:
        for name in names:
            payload = {"name": name, "token": "t0p-Secret"}
            if template != "verify_email":
                del payload["token"]
            await outbox.to_address(
                session, address=f"{name}@example.org", template=template, payload=payload
            )


async def waiting(sessions: Sessions) -> Sequence[Outbox]:
    async with sessions() as session:
        statement = select(Outbox).where(col(Outbox.delivered_at).is_(None))
        return (await session.execute(statement)).scalars().all()


async def pass_time(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        open_ = col(Outbox.delivered_at).is_(None)
        await session.execute(update(Outbox).where(open_).values(next_attempt_at=func.now()))


async def deliver(sessions: Sessions, smtp: MailServer) -> int:
    return await mail.deliver_due(sessions, send=mail.sender(smtp.settings), public_url=URL)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another thread
            await asyncio.sleep(0.01)


async def seconds_until_next(sessions: Sessions) -> float:
    async with sessions() as session:
        wait = func.extract("epoch", col(Outbox.next_attempt_at) - func.now())
        statement = select(wait).where(col(Outbox.delivered_at).is_(None))
        return float((await session.execute(statement)).scalar_one())


async def test_a_mail_is_delivered_once(sessions: Sessions, smtp: MailServer) -> None:
    await queue(sessions, "ada", template="verify_email")
    (row,) = await waiting(sessions)
    with running(smtp):
        assert await deliver(sessions, smtp) == 1
        await pass_time(sessions)
        assert await deliver(sessions, smtp) == 0
    (sent,) = smtp.mails
    assert smtp.envelopes[0].rcpt_tos == ["ada@example.org"]
    assert smtp.envelopes[0].mail_from == "noreply@localhost"
    assert sent["From"] == "Commonweal <noreply@localhost>"
    assert sent["To"] == "ada@example.org"
    assert sent["Subject"] == "Please confirm your email address"
    assert sent["Message-ID"] == f"<{row.id}@commonweal.example>"
    assert sent["Auto-Submitted"] == "auto-generated"
    assert sent["Date"]
    lines = sent.get_content().splitlines()
    assert f"{URL}/verify?token=t0p-Secret" in lines
    assert "t0p-Secret" in lines
    async with sessions() as session:
        done = await session.get_one(Outbox, row.id)
    assert done.delivered_at is not None
    assert (done.payload, done.attempts, done.last_error) == ({}, 1, None)


async def test_a_server_that_is_away_is_tried_later(sessions: Sessions, smtp: MailServer) -> None:
    await queue(sessions, "ada")
    for attempts, pause in [(1, 60), (2, 120), (3, 240)]:
        assert await deliver(sessions, smtp) == 0
        assert await deliver(sessions, smtp) == 0  # not due
        (row,) = await waiting(sessions)
        assert row.attempts == attempts
        assert row.last_error is not None
        assert row.last_error.startswith("SMTPConnectError")
        assert pause - 5 < await seconds_until_next(sessions) <= pause * 1.1
        await pass_time(sessions)
    async with sessions.begin() as session:
        await session.execute(update(Outbox).values(attempts=500))
    assert await deliver(sessions, smtp) == 0
    assert 6 * 3600 - 5 < await seconds_until_next(sessions) <= 6 * 3600 * 1.1
    await pass_time(sessions)
    with running(smtp):
        assert await deliver(sessions, smtp) == 1
    assert len(smtp.mails) == 1


async def test_a_refused_mail_waits_and_its_secret_is_not_kept(
    sessions: Sessions, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    await queue(sessions, "ada", template="verify_email")
    smtp.refusal = "554 5.7.1 I do not like t0p-Secret " + "x" * 300
    with running(smtp):
        assert await deliver(sessions, smtp) == 0
        (row,) = await waiting(sessions)
        assert row.last_error is not None
        assert "554" in row.last_error
        assert "t0p" not in row.last_error + caplog.text
        assert "ada@" not in caplog.text
        assert len(row.last_error) <= 200
        assert row.payload["token"] == "t0p-Secret"
        smtp.refusal = ""
        await pass_time(sessions)
        assert await deliver(sessions, smtp) == 1


async def test_a_bad_mail_keeps_no_other(sessions: Sessions, smtp: MailServer) -> None:
    await queue(sessions, "ada", template="no_such_template")
    await queue(sessions, "ada", template="invitation")  # lacks facts
    await queue(sessions, "two\nlines", "a@b@c\r\n", "bob")
    async with sessions.begin() as session:
        await outbox.to_address(
            session, address="eve@example.org>", template="address_in_use", payload={"name": "x"}
        )
    with running(smtp):
        assert await deliver(sessions, smtp) == 1
    assert [sent["To"] for sent in smtp.mails] == ["bob@example.org"]
    errors = Counter(str(row.last_error) for row in await waiting(sessions))
    assert errors["KeyError: 'no_such_template'"] == errors["KeyError: 'by'"] == 1
    assert errors["ValueError"] == 3


async def test_an_address_is_one_address(sessions: Sessions, smtp: MailServer) -> None:
    await queue(sessions, "ada,bob")
    with running(smtp):
        assert await deliver(sessions, smtp) == 1
    assert smtp.envelopes[0].rcpt_tos == ['"ada,bob"@example.org']


async def test_several_deliverers_send_each_mail_once(sessions: Sessions, smtp: MailServer) -> None:
    await queue(sessions, *(f"user{number}" for number in range(30)))
    with running(smtp):
        counts = await asyncio.gather(*(deliver(sessions, smtp) for _ in range(4)))
    assert sum(counts) == 30
    assert sorted(counts)[-2] > 0  # they did work side by side
    assert len({sent["Message-ID"] for sent in smtp.mails}) == len(smtp.mails) == 30


async def test_who_dies_while_sending_leaves_the_mail_to_the_next(
    sessions: Sessions, smtp: MailServer
) -> None:
    await queue(sessions, "ada")
    (row,) = await waiting(sessions)
    seen: list[EmailMessage] = []
    reached = asyncio.Event()

    async def hang(message: EmailMessage) -> None:
        seen.append(message)
        reached.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(mail.deliver_due(sessions, send=hang, public_url=URL))
    await asyncio.wait_for(reached.wait(), 5)
    async with sessions.begin() as session:  # neither a lock nor an open transaction meanwhile
        locked = select(Outbox).where(col(Outbox.id) == row.id).with_for_update(nowait=True)
        assert (await session.execute(locked)).scalar_one().attempts == 1
        idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        own = " AND datname = current_database() AND pid <> pg_backend_pid()"
        assert (await session.execute(text(idle + own))).scalar_one() == 0
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    with running(smtp):
        assert await deliver(sessions, smtp) == 0  # leased
        assert 290 < await seconds_until_next(sessions) <= 300
        await pass_time(sessions)
        assert await deliver(sessions, smtp) == 1
    assert smtp.mails[0]["Message-ID"] == seen[0]["Message-ID"]


async def test_a_stuck_send_is_given_up_within_its_lease(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=mail.SEND_SECONDS) < mail.LEASE / 2
    monkeypatch.setattr(mail, "SEND_SECONDS", 0.05)
    await queue(sessions, "ada")

    async def hang(_message: EmailMessage) -> None:
        await asyncio.Event().wait()

    assert await mail.deliver_due(sessions, send=hang, public_url=URL) == 0
    (row,) = await waiting(sessions)
    assert row.last_error == "TimeoutError"


async def test_the_loop_survives_everything_and_stops_promptly(
    sessions: Sessions, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    await queue(sessions, "ada")
    away = database.connect(replace(Settings(), database_url="postgresql://nobody@/none?host=/nonexistent"))
    flaky = database.sessions(away)
    stop = asyncio.Event()
    names: list[str] = []

    async def write(session: AsyncSession) -> None:
        names.append(f"job{len(names)}")
        await outbox.to_address(
            session, address="j@example.org", template="address_in_use", payload={"name": names[-1]}
        )
        if len(names) == 2:
            raise ValueError("a fault")

    with running(smtp):
        loop = asyncio.create_task(mail.run(flaky, smtp.settings, also=[write], stop=stop))
        await eventually(lambda: "OperationalError" in caplog.text)
        flaky.configure(bind=sessions.kw["bind"])
        await eventually(lambda: len(smtp.mails) >= 3)
        stop.set()
        await asyncio.wait_for(loop, 1)
    await away.dispose()
    contents = "".join(sent.get_content() for sent in smtp.mails)
    assert "Hello ada" in contents
    assert "Hello job" in contents
    assert "Hello job1," not in contents  # rolled back with its session
    assert "a fault" in caplog.text


async def test_a_stop_does_not_wait_for_a_job_that_hangs(
    sessions: Sessions, smtp: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "GRACE_SECONDS", 0.05)
    stop, reached = asyncio.Event(), asyncio.Event()

    async def hang(_session: AsyncSession) -> None:
        reached.set()
        await asyncio.Event().wait()

    loop = asyncio.create_task(mail.run(sessions, smtp.settings, also=[hang], stop=stop))
    await asyncio.wait_for(reached.wait(), 5)
    stop.set()
    await asyncio.wait_for(loop, 2)


async def test_without_a_server_mails_are_logged(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "commonweal.mail")
    for production in (False, True):
        caplog.clear()
        await queue(sessions, "ada", template="verify_email")
        send = mail.sender(Settings(production=production))
        assert await mail.deliver_due(sessions, send=send, public_url=URL) == 1
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

    await queue(sessions, "ada")
    options = {"auth_required": True, "auth_require_tls": False, "authenticator": authenticate}
    with running(smtp, **options):
        for login, delivered in [("u%40x:wrong@", 0), ("u%40x:p%2Fw@", 1)]:
            settings = Settings(smtp_url=f"smtp://{login}127.0.0.1:{smtp.port}")
            send = mail.sender(settings)
            assert await mail.deliver_due(sessions, send=send, public_url=URL) == delivered
            if not delivered:
                (row,) = await waiting(sessions)
                assert row.last_error == "SMTPAuthenticationError: 535"
                await pass_time(sessions)


async def test_smtps_never_falls_back_to_plain_text(smtp: MailServer) -> None:
    send = mail.sender(Settings(smtp_url=f"smtps://127.0.0.1:{smtp.port}"))
    message = EmailMessage()
    message["To"] = "ada@example.org"
    with running(smtp), pytest.raises(aiosmtplib.SMTPConnectError):
        await send(message)
    assert not smtp.mails


@pytest.mark.parametrize("url", ["http://x", "smtp://", "x", "smtp://u:hidden@h:port"])
def test_a_wrong_url_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mail.sender(Settings(smtp_url=url))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "nobody", "a@b.c, d@e.f", "a@b.c\nBcc: d@e.f"])
def test_a_wrong_sender_stops_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError):
        mail.sender(Settings(mail_from=address))


def summary() -> dict[str, str]:
    payee = Collective(slug="x", type=CollectiveType.COMMUNITY, name="Webpack", currency="USD")
    order = Order(
        type=OrderType.EXPENSE, status=OrderStatus.PENDING, amount=2500, currency="USD",
        from_id=new_id(), to_id=new_id(),
    )  # fmt: skip
    return orders.summary(order, to=Party(payee))


def queued() -> Iterator[tuple[str, list[str]]]:
    """Yield each template that a service queues, with the facts that it gives."""
    for path in sorted(SERVICES.glob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            given = {k.arg: k.value for k in call.keywords} if isinstance(call, ast.Call) else {}
            template = given.get("template")
            if isinstance(template, ast.Constant):
                yield str(template.value), facts(given["payload"])


def facts(payload: ast.expr) -> list[str]:
    if isinstance(payload, ast.Call):
        assert ast.unparse(payload.func).endswith("summary")
        return list(summary())
    assert isinstance(payload, ast.Dict)
    names: list[str] = []
    for key, value in zip(payload.keys, payload.values, strict=True):
        names += facts(value) if key is None else [str(ast.literal_eval(key))]
    return names


def test_every_template_that_is_queued_is_known_and_no_other() -> None:
    assert {template for template, _ in queued()} == set(TEMPLATES)


@pytest.mark.parametrize(("kind", "names"), list(queued()))
def test_every_template_renders(kind: str, names: list[str]) -> None:
    payload: dict[str, Any] = {name: f"the {name}" for name in names}
    subject, content = mail.render(kind, payload, public_url=f"{URL}/")
    assert subject == subject.strip()
    assert len(content) > 80
    assert content.endswith(f"-- \nCommonweal\n{URL}\n")
    assert "{" not in subject + content
    assert "\n\n\n" not in content


async def test_names_write_no_headers(sessions: Sessions, smtp: MailServer) -> None:
    async with sessions.begin() as session:
        for kind, names in queued():
            payload = dict.fromkeys(names, EVIL)
            await outbox.to_address(session, address="ada@example.org", template=kind, payload=payload)
    with running(smtp):
        assert await deliver(sessions, smtp) == len(TEMPLATES)
    expected = "To Subject Date Message-ID Auto-Submitted X-Commonweal-Template From"
    framing = "MIME-Version Content-Type Content-Transfer-Encoding X-Peer X-MailFrom X-RcptTo"
    for envelope, sent in zip(smtp.envelopes, smtp.mails, strict=True):
        assert envelope.rcpt_tos == ["ada@example.org"]
        assert set(expected.split()) <= set(sent.keys()) <= set(f"{expected} {framing}".split())
        assert len(sent["Subject"]) <= 120
        content = sent.get_content()
        assert not any(line.startswith(("Bcc", "free")) for line in content.splitlines())
        assert "\u202e" not in content + sent["Subject"]


def test_a_line_without_facts_is_left_out() -> None:
    payload = {"collective": "Webpack", "host": "OSC", "approved": True, "reason": None}
    subject, content = mail.render("host_decision", payload, public_url=URL)
    assert subject == "OSC has accepted Webpack"
    assert "Reason" not in content
    payload |= {"approved": False, "reason": "too far\naway"}
    subject, content = mail.render("host_decision", payload, public_url=URL)
    assert subject == "OSC has declined Webpack"
    assert "Reason: too far away" in content


def test_amounts_and_states_read_as_words() -> None:
    payload = {**summary(), "status": "REJECTED", "reason": "no receipt"}
    subject, content = mail.render("order_closed", payload, public_url=URL)
    assert subject == "Expense of 25.00 USD: rejected"
    assert "this order (expense) is closed: rejected." in content
    assert "Description" not in content
