"""Budgets of mail: by sender, network, recipient and pair; and the lane that no flood delays."""

import asyncio
from dataclasses import replace
from email.message import EmailMessage
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from models import Outbox
from services.core.origins import MailOrigin
from services.core.settings import Settings
from services.messaging import delivery, outbox
from services.messaging.budgets import MailBudgetExceeded
from services.messaging.links import Links
from services.round_trips.operation_session import operation_of
from tests.event_world import EventScene
from tests.factories import World
from tests.mail_world import URL, MailServer, Sessions, run_mail_server

INVITATION = {"name": "x", "by": "x", "collective": "x", "role": "ADMIN"}


@pytest.fixture
async def scene(world: World) -> EventScene:
    return await EventScene.create(world)


async def send(
    sessions: Sessions,
    *recipients: str,
    template: str = "invitation",
    by: UUID | None = None,
    network: str = "",
    settings: Settings | None = None,
) -> int:
    """Queue a mail to each recipient in one transaction; return the seconds to wait, if any."""
    async with sessions() as session:
        operation_of(session).mail_origin = MailOrigin(by, network, settings or Settings())
        try:
            for name in recipients:
                address = f"{name}@example.org"
                await outbox.mail_address(session, address=address, template=template, payload=INVITATION)
        except MailBudgetExceeded as refused:
            return refused.retry_after_seconds
        await session.commit()
    return 0


async def received(sessions: Sessions) -> dict[str, int]:
    async with sessions() as session:
        rows = await session.execute(text("SELECT recipient, count(*) FROM outbox GROUP BY 1 ORDER BY 1"))
        return {recipient.partition("@")[0]: count for recipient, count in rows}


async def test_a_cannon_of_invitations_is_stopped(scene: EventScene) -> None:
    """100 addresses and a text of one's own, eight times: at most 200 mails, and few to one victim."""
    victims = [f"victim{i}@example.org" for i in range(100)]
    codes = []
    for _ in range(8):
        event = await scene.event()
        payload = await scene.world.mutate(
            "inviteToEvent",
            "results { role member { id } errors { code } }",
            by=scene.chris,
            event=event,
            emails=victims,
            message="Buy my pills",
        )
        codes.append([error["code"] for error in payload["errors"]])
    assert codes == [[], [], *[["RATE_LIMITED"]] * 6]
    sql = "SELECT count(*) FROM outbox WHERE recipient LIKE 'victim%' {}"
    assert await scene.world.scalar(sql.format("")) == 200
    each = sql.format("GROUP BY recipient")
    assert await scene.world.scalar(f"SELECT max(n) FROM ({each}) AS each_of_them (n)") == 2


async def test_the_refusal_says_when_to_try_again(scene: EventScene) -> None:
    event = await scene.event()
    scene.world.settings = replace(scene.world.settings, mail_invitations_per_sender=1)
    for expected in ([], ["RATE_LIMITED"]):
        payload = await scene.world.mutate(
            "inviteToEvent", by=scene.chris, event=event, emails=[f"{len(expected)}@example.org"]
        )
        assert [error["code"] for error in payload["errors"]] == expected
        assert all("seconds" in error["message"] for error in payload["errors"])


async def test_a_stranger_gets_few_mails_whoever_sends_them(world: World, sessions: Sessions) -> None:
    for i in range(6):
        person = await world.person(f"sender{i}")
        assert await send(sessions, "victim", by=person.user.id, network=f"10.0.{i}.1") == 0
        assert await send(sessions, "victim", by=person.user.id, template="order_closed") == 0
    assert await received(sessions) == {"victim": 3}


async def test_a_known_person_gets_few_invitations_of_one_sender(world: World, sessions: Sessions) -> None:
    bea, sender = await world.person("bea"), await world.person("sender")
    for _ in range(8):
        async with sessions() as session, session.begin():
            operation_of(session).mail_origin = MailOrigin(sender.user.id)
            await outbox.mail_users(
                session, user_ids=[bea.user.id], template="invitation", payload=INVITATION
            )
    assert await received(sessions) == {"bea": 3}


async def test_what_one_sender_may_not_send_uses_up_nothing_that_others_share(
    world: World, sessions: Sessions
) -> None:
    senders = [await world.person(f"sender{number}") for number in range(2)]
    bea = await world.person("bea")
    for sender, times in zip(senders, (30, 1), strict=True):
        for _ in range(times):
            async with sessions() as session, session.begin():
                operation_of(session).mail_origin = MailOrigin(sender.user.id)
                await outbox.mail_users(
                    session, user_ids=[bea.user.id], template="invitation", payload=INVITATION
                )
            await send(sessions, "stranger", by=sender.user.id)
    assert await received(sessions) == {"bea": 4, "stranger": 3}


async def test_notices_beyond_a_days_are_dropped_and_never_refuse_the_act(
    world: World, sessions: Sessions
) -> None:
    bea = await world.person("bea")
    async with sessions() as session, session.begin():
        operation_of(session).mail_origin = MailOrigin(
            None, "", replace(Settings(), mail_notices_per_recipient=5)
        )
        for _ in range(8):
            await outbox.mail_users(session, user_ids=[bea.user.id], template="order_closed", payload={})
    assert await received(sessions) == {"bea": 5}


async def test_a_network_has_a_budget_of_its_own(world: World, sessions: Sessions) -> None:
    settings = Settings(mail_invitations_per_network=4)
    waits = []
    for i in range(6):
        person = await world.person(f"sender{i}")
        waits.append(
            await send(
                sessions, f"victim{i}", by=person.user.id, network=f"2001:db8::{i + 1}", settings=settings
            )
        )
    assert waits[:4] == [0] * 4
    assert all(0 < wait <= 86_400 for wait in waits[4:])


async def test_two_at_once_stay_within_the_budgets(world: World, sessions: Sessions) -> None:
    person = await world.person("sender")
    settings = Settings(mail_invitations_per_sender=10)
    names = [f"victim{i % 4}" for i in range(16)]
    waits = await asyncio.gather(*(send(sessions, n, by=person.user.id, settings=settings) for n in names))
    assert sum(wait == 0 for wait in waits) == 10
    assert sum((await received(sessions)).values()) <= 10
    many = await asyncio.gather(*(send(sessions, "alone", by=None) for _ in range(12)))
    assert many == [0] * 12
    assert (await received(sessions))["alone"] == 3


async def test_what_fails_uses_no_budget(scene: EventScene) -> None:
    event = await scene.event()
    before = await scene.world.fingerprint()
    too_long = "x" * 2001
    payload = await scene.world.mutate(
        "inviteToEvent", by=scene.chris, event=event, emails=["a@example.org"], message=too_long
    )
    assert [error["code"] for error in payload["errors"]] == ["INVALID_INPUT"]
    assert await scene.world.fingerprint() == before


async def test_no_flood_delays_a_reset(sessions: Sessions, smtp: MailServer) -> None:
    async with sessions() as session, session.begin():
        for i in range(40):
            await outbox.mail_address(
                session, address=f"x{i}@example.org", template="invitation", payload=INVITATION
            )
    assert await send(sessions, "ada", template="password_reset") == 0
    with run_mail_server(smtp):
        async with sessions() as session, session.begin():
            await session.execute(text('UPDATE outbox SET payload = \'{"token": "t"}\' WHERE lane = 0'))
        sender = delivery.make_sender(smtp.settings)
        assert await delivery.deliver_due(sessions, send=sender, links=Links(URL), batch=1) == 1
    assert smtp.envelopes[0].rcpt_tos == ["ada@example.org"]
    async with sessions() as session:
        lanes = (
            await session.execute(select(col(Outbox.lane)).where(col(Outbox.delivered_at).is_not(None)))
        ).all()
    assert [lane for (lane,) in lanes] == [0]


async def test_a_slow_mail_holds_up_no_reset(sessions: Sessions) -> None:
    """Each lane is delivered by a loop of its own."""
    hanging, arrived = asyncio.Event(), asyncio.Event()

    async def send_slowly(message: EmailMessage) -> None:
        if message["To"] == "slow@example.org":
            await hanging.wait()
        else:
            arrived.set()

    await send(sessions, "slow")
    slow = asyncio.create_task(delivery.deliver_due(sessions, send=send_slowly, links=Links(URL), lane=1))
    await send(sessions, "ada", template="address_in_use")
    fast = asyncio.create_task(delivery.deliver_due(sessions, send=send_slowly, links=Links(URL), lane=0))
    await asyncio.wait_for(arrived.wait(), 10)
    hanging.set()
    assert (await slow, await fast) == (1, 1)
