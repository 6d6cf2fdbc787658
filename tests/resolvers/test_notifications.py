"""Muting mails by topic, and mails that are queued once."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import MemberRole, Topic
from services.messaging import outbox, preferences
from services.messaging.templates import TEMPLATES
from tests.donation_world import Scene, code, done
from tests.factories import Person, World, money, of
from tests.hours_world import TimeScene, yesterday
from tests.test_statement_counts import counted, statements

MUTED = "{ me { mutedTopics } }"
FACTS = {"amount": "1.00 USD", "to": "Webpack", "type": "EXPENSE", "description": ""}


async def mute(world: World, by: Person, *topics: str) -> list[str]:
    done = await world.do("muteTopics", "topics", by=by, topics=list(topics))
    assert done["errors"] == []
    found: list[str] = done["topics"]
    return found


async def mailed(world: World, template: str | None = None) -> list[str]:
    """Return who is to get a mail, by address."""
    async with world.sessions() as session:
        query = text(
            "SELECT recipient FROM outbox WHERE template = coalesce(:t, template) ORDER BY recipient, id"
        )
        return list((await session.execute(query, {"t": template})).scalars())


def test_every_template_has_a_topic_or_always_goes() -> None:
    assert set(TEMPLATES) == set(preferences.TOPICS) | preferences.ALWAYS
    assert not set(preferences.TOPICS) & preferences.ALWAYS


async def test_exactly_the_named_topics_are_muted_and_only_oneself_sees_it(world: World) -> None:
    ada = await world.person("ada")
    assert (await world.ask(MUTED, by=ada))["me"] == {"mutedTopics": []}
    assert await mute(world, ada, "HOURS", "MONEY", "HOURS") == ["MONEY", "HOURS"]
    assert await mute(world, ada, "EVENTS", "HOURS") == ["HOURS", "EVENTS"]
    assert (await world.ask(MUTED, by=ada))["me"] == {"mutedTopics": ["HOURS", "EVENTS"]}
    query = '{ collective(slug: "ada") { ... on User { mutedTopics } } }'
    for viewer in (None, await world.person("bob"), world.admin):
        assert (await world.ask(query, by=viewer))["collective"] == {"mutedTopics": []}
    assert await mute(world, ada) == []
    assert await world.scalar("SELECT count(*) FROM muted_topic") == 0


async def test_nobody_mutes_without_signing_in(world: World) -> None:
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: MuteTopicsInput!) { muteTopics(input: $i) { topics } }", i={"topics": ["MONEY"]}
    )
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert await world.fingerprint() == before


@pytest.mark.parametrize(
    ("topics", "gets_it"), [(["MONEY"], False), (["HOURS", "MEMBERS"], True), ([], True)]
)
async def test_who_muted_a_topic_gets_no_mail_about_it(
    world: World, topics: list[str], gets_it: bool
) -> None:
    scene = await Scene.create(world, funds="")
    second = await world.person("second")
    await world.member(scene.webpack, second, MemberRole.ADMIN)
    await mute(world, scene.giver, *topics)
    await scene.expense("1.00")
    expected = [scene.giver.email] * gets_it + [second.email]
    assert await mailed(world, "expense_submitted") == sorted(expected)


async def test_mails_of_one_topic_go_on_where_another_is_muted_and_secure_ones_always(world: World) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    await mute(world, ada, *Topic)
    async with world.sessions() as session, session.begin():
        await outbox.to_admins(session, collective_ids=[club.id], template="address_in_use", payload={})
        await outbox.to_admins(session, collective_ids=[club.id], template="host_decision", payload={})
        await outbox.to_users(session, user_ids=[ada.user.id], template="verify_email", payload={})
        await outbox.to_users(session, user_ids=[ada.user.id], template="money_received", payload={})
    assert await mailed(world) == [ada.email] * 2
    assert await mailed(world, "host_decision") == await mailed(world, "money_received") == []


async def test_mails_about_any_order_have_the_topic_of_its_kind(world: World) -> None:
    scene = await TimeScene.create(world)
    await mute(world, scene.john, "MONEY")
    await reject(scene, hour=8)
    assert await mailed(world, "order_closed") == [scene.john.email]
    await mute(world, scene.john, "HOURS")
    await reject(scene, hour=12)
    assert await mailed(world, "order_closed") == [scene.john.email]


async def reject(scene: TimeScene, *, hour: int) -> None:
    """Let the volunteer log an hour that is refused."""
    order_id = done(await scene.log(1, start=yesterday(hour)))
    refused = await scene.world.do("rejectOrder", by=scene.chris, id=order_id, reason="nobody was there")
    assert refused["errors"] == []


async def test_an_invitation_can_be_muted(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    club = await world.community("club", None, ada)
    given: dict[str, Any] = {"collective": of(club), "user": of(bob)}
    assert code(await world.do("inviteMember", by=ada, role="MEMBER", **given)) is None
    await mute(world, bob, "MEMBERS")
    assert code(await world.do("inviteMember", by=ada, role="ADMIN", **given)) is None
    assert await mailed(world, "invitation") == [bob.email]


async def test_users_get_mail_at_proved_and_unproved_addresses_but_not_who_acted(
    world: World, engine: AsyncEngine
) -> None:
    people = [await world.person(f"person-{number}", claimed=number % 2 == 0) for number in range(6)]
    await mute(world, people[0], "MONEY")
    ids = [person.user.id for person in people]
    async with world.sessions() as session, session.begin():
        with counted(engine) as sent:
            await outbox.to_users(
                session, user_ids=[*ids, ids[2]], template="money_received", payload=FACTS, except_id=ids[5]
            )
        assert len(statements(sent)) == 1
    assert await mailed(world, "money_received") == [person.email for person in people[1:5]]


async def test_a_user_who_gives_gets_a_receipt_and_a_collective_none(world: World) -> None:
    scene = await Scene.create(world)
    done(await scene.donate("1.00"))
    by_bank = await world.do(
        "donate",
        "order { id }",
        by=scene.friend,
        to=of(scene.webpack),
        amount=money("2.00"),
        paymentMethod="MANUAL",
        **{"from": of(scene.friend)},
    )
    assert await mailed(world, "donation_confirmation") == []
    assert code(await world.do("approveOrder", by=scene.holder, id=by_bank["order"]["id"])) is None
    assert await mailed(world, "donation_confirmation") == [scene.friend.email]
    await world.fund(scene.giver.user, "5.00", by=world.admin)
    done(await scene.donate("3.00", from_=scene.giver))  # though the giver acts: it is a receipt
    assert await mailed(world, "donation_confirmation") == [scene.friend.email, scene.giver.email]
    await mute(world, scene.giver, "MONEY")
    done(await scene.donate("1.00", from_=scene.giver))
    assert len(await mailed(world, "donation_confirmation")) == 2


async def test_the_platform_hears_of_new_organizations(world: World) -> None:
    ada, second = await world.person("ada"), await world.person("second")
    await world.member(world.platform, second, MemberRole.ADMIN)
    for by, kind in ((ada, "NONPROFIT"), (ada, "COMMUNITY"), (second, "BUSINESS")):
        made = await world.do(
            "createCollective",
            by=by,
            type=kind,
            name=kind.title(),
            slug=f"new-{kind.lower()}",
            currency="USD",
        )
        assert made["errors"] == []
    to = sorted([world.admin.email, second.email])
    async with world.sessions() as session:
        query = text(
            "SELECT payload->>'name' AS name, array_agg(recipient ORDER BY recipient) AS recipients"
            " FROM outbox WHERE template = 'organization_created' GROUP BY 1"
        )
        found = {row.name: row.recipients for row in await session.execute(query)}
    assert found == {"Nonprofit": to, "Business": [world.admin.email]}


async def test_a_retried_transition_queues_no_second_mail(world: World) -> None:
    scene = await Scene.create(world)
    order_id = await scene.expense("1.00")
    key: dict[str, Any] = {"idempotencyKey": "again"}
    for mutation, by, template in (
        ("approveOrder", scene.giver, "expense_approved"),
        ("payOrder", scene.holder, "money_received"),
    ):
        answers = [await world.do(mutation, by=by, id=order_id, **key) for _ in range(3)]
        assert [code(answer) for answer in answers] == [None] * 3
        assert (await mailed(world, template)).count(scene.payee.email) == 1
    other = await scene.expense("1.00")
    for _ in range(2):
        refused = await world.do("rejectOrder", by=scene.giver, id=other, reason="no", idempotencyKey="no")
        assert code(refused) is None
    assert await mailed(world, "order_closed") == [scene.payee.email]


async def test_a_merged_user_gets_no_mail(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    given: dict[str, Any] = {"from": of(twin), "into": of(ada)}
    merged = await world.do("mergeUsers", by=world.admin, **given)
    assert merged["errors"] == []
    async with world.sessions() as session, session.begin():
        await outbox.to_users(session, user_ids=[twin.user.id], template="money_received", payload=FACTS)
    assert await mailed(world, "money_received") == []
