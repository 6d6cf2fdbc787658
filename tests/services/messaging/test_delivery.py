"""Delivery of the outbox, to a real mail server on loopback."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import select, text, update
from sqlmodel import col

from models import Outbox
from services.core.settings import Settings
from services.database import engine
from services.messaging import delivery, leases, outbox
from services.messaging.links import Links
from services.messaging.mime_messages import read_text
from tests.mail_world import (
    URL,
    MailServer,
    Sessions,
    deliver,
    load_undelivered,
    make_all_due,
    queue_mails,
    run_mail_server,
    seconds_until_next,
    wait_until,
)


async def test_a_mail_is_delivered_once(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, "ada", template="verify_email")
    (row,) = await load_undelivered(sessions)
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 1
        await make_all_due(sessions)
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
    lines = read_text(sent).splitlines()
    assert f"{URL}/verify?token=t0p-Secret" in lines
    assert "t0p-Secret" in lines
    async with sessions() as session:
        result = await session.get_one(Outbox, row.id)
    assert result.delivered_at is not None
    assert (result.payload, result.attempts, result.last_error) == ({}, 1, None)


async def test_a_mailed_reset_links_to_its_page_and_its_token_is_removed(
    sessions: Sessions, smtp: MailServer
) -> None:
    await queue_mails(sessions, "ada", template="password_reset")
    (row,) = await load_undelivered(sessions)
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 1
    lines = read_text(smtp.mails[0]).splitlines()
    assert {f"{URL}/reset?token=t0p-Secret", "t0p-Secret"} <= set(lines)
    async with sessions() as session:
        assert (await session.get_one(Outbox, row.id)).payload == {}


async def test_an_unreachable_server_is_retried_later(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, "ada")
    for attempts, pause in [(1, 60), (2, 120), (3, 240)]:
        assert await deliver(sessions, smtp) == 0
        assert await deliver(sessions, smtp) == 0  # not due
        (row,) = await load_undelivered(sessions)
        assert row.attempts == attempts
        assert row.last_error is not None
        assert row.last_error.startswith("SMTPConnectError")
        assert pause - 5 < await seconds_until_next(sessions) <= pause * 1.1
        await make_all_due(sessions)
    async with sessions.begin() as session:
        await session.execute(update(Outbox).values(attempts=500))
    assert await deliver(sessions, smtp) == 0
    assert 6 * 3600 - 5 < await seconds_until_next(sessions) <= 6 * 3600 * 1.1
    await make_all_due(sessions)
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 1
    assert len(smtp.mails) == 1


async def test_a_refused_mail_is_retried_and_its_secret_is_removed(
    sessions: Sessions, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    await queue_mails(sessions, "ada", template="verify_email")
    smtp.refusal = "450 4.7.1 I do not like t0p-Secret " + "x" * 300
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 0
        (row,) = await load_undelivered(sessions)
        assert row.last_error is not None
        assert "450" in row.last_error
        logged = "".join(r.getMessage() for r in caplog.records if r.name.startswith("commonweal"))
        assert "failed at attempt 1" in logged
        assert "t0p" not in row.last_error + logged
        assert "ada@" not in logged
        assert len(row.last_error) <= 200
        assert row.payload["token"] == "t0p-Secret"
        smtp.refusal = ""
        await make_all_due(sessions)
        assert await deliver(sessions, smtp) == 1


async def test_a_mail_that_is_refused_for_good_is_tried_no_more(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, "ada", template="verify_email")
    smtp.refusal = "554 5.1.1 No such mailbox"
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 0
        (row,) = await load_undelivered(sessions)
        assert row.failed_at is not None
        assert row.last_error is not None
        assert "554" in row.last_error
        assert row.payload == {}
        smtp.refusal = ""
        await make_all_due(sessions)
        assert await deliver(sessions, smtp) == 0


async def test_a_bad_mail_does_not_block_others(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, "ada", template="no_such_template")
    await queue_mails(sessions, "ada", template="invitation")  # lacks facts
    await queue_mails(sessions, "two\nlines", "a@b@c\r\n", "bob")
    async with sessions.begin() as session:
        await outbox.mail_address(
            session, address="eve@example.org>", template="address_in_use", payload={"name": "x"}
        )
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 1
    assert [sent["To"] for sent in smtp.mails] == ["bob@example.org"]
    errors = Counter(str(row.last_error) for row in await load_undelivered(sessions))
    assert errors["KeyError: 'no_such_template'"] == errors["KeyError: 'by'"] == 1
    assert errors["ValueError"] == 3


async def test_an_address_cannot_contain_another(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, "ada,bob")
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 1
    assert smtp.envelopes[0].rcpt_tos == ['"ada,bob"@example.org']


async def test_several_deliverers_send_each_mail_once(sessions: Sessions, smtp: MailServer) -> None:
    await queue_mails(sessions, *(f"user{number}" for number in range(30)))
    with run_mail_server(smtp):
        counts = await asyncio.gather(*(deliver(sessions, smtp) for _ in range(4)))
    assert sum(counts) == 30
    assert sorted(counts)[-2] > 0  # they did work side by side
    assert len({sent["Message-ID"] for sent in smtp.mails}) == len(smtp.mails) == 30


async def test_a_mail_is_sent_by_another_process_if_its_sender_dies(
    sessions: Sessions, smtp: MailServer
) -> None:
    await queue_mails(sessions, "ada")
    (row,) = await load_undelivered(sessions)
    seen: list[EmailMessage] = []
    reached = asyncio.Event()

    async def hang(message: EmailMessage) -> None:
        seen.append(message)
        reached.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(delivery.deliver_due(sessions, send=hang, links=Links(URL)))
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
    with run_mail_server(smtp):
        assert await deliver(sessions, smtp) == 0  # leased
        assert 290 < await seconds_until_next(sessions) <= 300
        await make_all_due(sessions)
        assert await deliver(sessions, smtp) == 1
    assert smtp.mails[0]["Message-ID"] == seen[0]["Message-ID"]


async def test_a_stuck_delivery_is_abandoned_within_its_lease(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=delivery.SEND_SECONDS) < leases.LEASE / 2
    monkeypatch.setattr(delivery, "SEND_SECONDS", 0.05)
    await queue_mails(sessions, "ada")

    async def hang(_message: EmailMessage) -> None:
        await asyncio.Event().wait()

    assert await delivery.deliver_due(sessions, send=hang, links=Links(URL)) == 0
    (row,) = await load_undelivered(sessions)
    assert row.last_error == "TimeoutError"


async def test_the_loop_survives_errors_and_stops_promptly(
    sessions: Sessions, smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    await queue_mails(sessions, "ada")
    away = engine.create_pool(replace(Settings(), database_url="postgresql://nobody@/none?host=/nonexistent"))
    flaky = engine.session_factory(away)
    stop = asyncio.Event()
    with run_mail_server(smtp):
        loop = asyncio.create_task(delivery.run(flaky, smtp.settings, stop=stop))
        await wait_until(lambda: "OperationalError" in caplog.text)
        flaky.configure(bind=sessions.kw["bind"])
        await wait_until(lambda: len(smtp.mails) >= 1)
        stop.set()
        await asyncio.wait_for(loop, 1)
    await away.dispose()
    assert "Hello ada" in read_text(smtp.mails[0])


async def test_a_stopped_job_gives_back_what_it_claimed(sessions: Sessions) -> None:
    await queue_mails(sessions, "ada", "bob", "eve")
    before = {row.id: row.next_attempt_at for row in await load_undelivered(sessions)}
    stop = asyncio.Event()

    async def send(_message: EmailMessage) -> None:
        stop.set()

    assert await delivery.deliver_due(sessions, send=send, links=Links(URL), stop=stop) == 1
    rows = await load_undelivered(sessions)
    assert [(row.attempts, row.last_error) for row in rows] == [(0, None)] * 2
    assert all(row.next_attempt_at == before[row.id] for row in rows)


async def test_a_cancelled_job_records_what_was_sent(sessions: Sessions) -> None:
    await queue_mails(sessions, "ada", "bob", "eve")
    seen: list[str] = []
    reached = asyncio.Event()

    async def send(message: EmailMessage) -> None:
        seen.append(str(message["To"]))
        if len(seen) == 2:
            reached.set()
            await asyncio.Event().wait()

    dying = asyncio.create_task(delivery.deliver_due(sessions, send=send, links=Links(URL)))
    await asyncio.wait_for(reached.wait(), 5)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    attempts = {row.recipient: row.attempts for row in await load_undelivered(sessions)}
    third = ({"ada@example.org", "bob@example.org", "eve@example.org"} - set(seen)).pop()
    assert attempts == {seen[1]: 1, third: 0}, "the one in the middle stays claimed"


async def test_mails_stay_claimed_no_longer_than_their_lease(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=2 * delivery.SEND_SECONDS))
    await queue_mails(sessions, "ada")

    async def send(_message: EmailMessage) -> None:
        raise AssertionError("there is no time left")

    assert await delivery.deliver_due(sessions, send=send, links=Links(URL), batch=1) == 0
    (row,) = await load_undelivered(sessions)
    assert (row.attempts, row.last_error) == (0, None)


async def test_a_slow_mail_is_recorded_before_the_next(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RECORD_AT_ONCE_SECONDS", 0)
    await queue_mails(sessions, "ada", "bob")
    left: list[int] = []

    async def send(_message: EmailMessage) -> None:
        left.append(len(await load_undelivered(sessions)))

    assert await delivery.deliver_due(sessions, send=send, links=Links(URL)) == 2
    assert left == [2, 1]


async def test_stopping_does_not_wait_for_a_stuck_mail(
    sessions: Sessions, smtp: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "GRACE_SECONDS", 0.05)
    stop, reached = asyncio.Event(), asyncio.Event()

    async def hang(_message: EmailMessage) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(delivery, "make_sender", lambda _settings: hang)
    await queue_mails(sessions, "ada")
    loop = asyncio.create_task(delivery.run(sessions, smtp.settings, stop=stop))
    await asyncio.wait_for(reached.wait(), 5)
    stop.set()
    await asyncio.wait_for(loop, 2)
