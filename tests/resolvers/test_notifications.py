"""Muting mails by topic, and mails that are queued once."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models.enums import MemberRole, Topic
from services.messaging import outbox, preferences
from services.messaging.templates import TEMPLATES
from tests.donation_world import DonationScene, error_code, expect_order
from tests.factories import Person, World, money, ref
from tests.hours_world import HoursScene, yesterday
from tests.statement_counts import record_statements, without_control

MUTED = "{ me { mutedTopics } }"
FACTS = {"amount": "1.00 USD", "to": "Webpack", "type": "EXPENSE", "description": ""}


async def mute(world: World, by: Person, *topics: str) -> list[str]:
    payload = await world.mutate("muteTopics", "topics", by=by, topics=list(topics))
    assert payload["errors"] == []
    result: list[str] = payload["topics"]
    return result


async def mailed(world: World, template: str | None = None) -> list[str]:
    """Return who is to get a mail, by address."""
    async with world.sessions() as session:
        query = text(
            "SELECT recipient FROM outbox WHERE template = coalesce(:t, template) ORDER BY recipient, id"
        )
        return list((await session.execute(query, {"t": template})).scalars())


def test_every_template_has_a_topic_or_is_always_sent() -> None:
    assert set(TEMPLATES) == set(preferences.TOPIC_BY_TEMPLATE) | preferences.SECURITY_TEMPLATES
    assert not set(preferences.TOPIC_BY_TEMPLATE) & preferences.SECURITY_TEMPLATES


async def test_exactly_the_named_topics_are_muted_and_only_the_user_sees_them(world: World) -> None:
    ada = await world.person("ada")
    assert (await world.query(MUTED, by=ada))["me"] == {"mutedTopics": []}
    assert await mute(world, ada, "HOURS", "MONEY", "HOURS") == ["MONEY", "HOURS"]
    assert await mute(world, ada, "EVENTS", "HOURS") == ["HOURS", "EVENTS"]
    assert (await world.query(MUTED, by=ada))["me"] == {"mutedTopics": ["HOURS", "EVENTS"]}
    query = '{ collective(slug: "ada") { ... on User { mutedTopics } } }'
    for viewer in (None, await world.person("bob"), world.admin):
        assert (await world.query(query, by=viewer))["collective"] == {"mutedTopics": []}
    assert await mute(world, ada) == []
    assert await world.scalar("SELECT count(*) FROM muted_topic") == 0


async def test_anonymous_viewers_cannot_mute_topics(world: World) -> None:
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: MuteTopicsInput!) { muteTopics(input: $i) { topics } }", i={"topics": ["MONEY"]}
    )
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert await world.fingerprint() == before


@pytest.mark.parametrize(
    ("topics", "gets_it"), [(["MONEY"], False), (["HOURS", "MEMBERS"], True), ([], True)]
)
async def test_a_muted_topic_sends_no_mail(world: World, topics: list[str], gets_it: bool) -> None:
    scene = await DonationScene.create(world, funds="")
    second = await world.person("second")
    await world.member(scene.webpack, second, MemberRole.ADMIN)
    await mute(world, scene.giver, *topics)
    await scene.expense("1.00")
    expected = [scene.giver.email] * gets_it + [second.email]
    assert await mailed(world, "expense_submitted") == sorted(expected)


async def test_other_topics_and_security_mails_are_still_sent(world: World) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    await mute(world, ada, *Topic)
    async with world.sessions() as session, session.begin():
        await outbox.mail_admins(session, collective_ids=[club.id], template="address_in_use", payload={})
        await outbox.mail_admins(session, collective_ids=[club.id], template="host_decision", payload={})
        await outbox.mail_users(session, user_ids=[ada.user.id], template="verify_email", payload={})
        await outbox.mail_users(session, user_ids=[ada.user.id], template="money_received", payload={})
    assert await mailed(world) == [ada.email] * 2
    assert await mailed(world, "host_decision") == await mailed(world, "money_received") == []


async def test_mails_about_an_order_have_the_topic_of_its_type(world: World) -> None:
    scene = await HoursScene.create(world)
    await mute(world, scene.john, "MONEY")
    await reject(scene, hour=8)
    assert await mailed(world, "order_closed") == [scene.john.email]
    await mute(world, scene.john, "HOURS")
    await reject(scene, hour=12)
    assert await mailed(world, "order_closed") == [scene.john.email]


async def reject(scene: HoursScene, *, hour: int) -> None:
    """Log an hour of the volunteer and reject it."""
    order_id = expect_order(await scene.log(1, start=yesterday(hour)))
    refused = await scene.world.mutate("rejectOrder", by=scene.chris, id=order_id, reason="nobody was there")
    assert refused["errors"] == []


async def test_an_invitation_can_be_muted(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    club = await world.community("club", None, ada)
    arguments: dict[str, Any] = {"collective": ref(club), "user": ref(bob)}
    assert error_code(await world.mutate("inviteMember", by=ada, role="MEMBER", **arguments)) is None
    await mute(world, bob, "MEMBERS")
    assert error_code(await world.mutate("inviteMember", by=ada, role="ADMIN", **arguments)) is None
    assert await mailed(world, "invitation") == [bob.email]


async def test_mails_go_to_verified_and_unverified_addresses_but_not_to_the_actor(
    world: World, engine: AsyncEngine
) -> None:
    people = [await world.person(f"person-{number}", claimed=number % 2 == 0) for number in range(6)]
    await mute(world, people[0], "MONEY")
    ids = [person.user.id for person in people]
    async with world.sessions() as session, session.begin():
        with record_statements(engine) as statements:
            await outbox.mail_users(
                session, user_ids=[*ids, ids[2]], template="money_received", payload=FACTS, except_id=ids[5]
            )
        assert len(without_control(statements)) == 1
    assert await mailed(world, "money_received") == [person.email for person in people[1:5]]


async def test_a_donating_user_gets_a_receipt_and_a_collective_does_not(world: World) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.donate("1.00"))
    by_bank = await world.mutate(
        "donate",
        "order { id }",
        by=scene.friend,
        to=ref(scene.webpack),
        amount=money("2.00"),
        paymentMethod="MANUAL",
        **{"from": ref(scene.friend)},
    )
    assert await mailed(world, "donation_confirmation") == []
    assert error_code(await world.mutate("approveOrder", by=scene.holder, id=by_bank["order"]["id"])) is None
    assert await mailed(world, "donation_confirmation") == [scene.friend.email]
    await world.fund(scene.giver.user, "5.00", by=world.admin)
    expect_order(await scene.donate("3.00", from_=scene.giver))  # though the giver acts: it is a receipt
    assert await mailed(world, "donation_confirmation") == [scene.friend.email, scene.giver.email]
    await mute(world, scene.giver, "MONEY")
    expect_order(await scene.donate("1.00", from_=scene.giver))
    assert len(await mailed(world, "donation_confirmation")) == 2


async def test_platform_admins_are_mailed_about_new_organizations(world: World) -> None:
    ada, second = await world.person("ada"), await world.person("second")
    await world.member(world.platform, second, MemberRole.ADMIN)
    for by, kind in ((ada, "NONPROFIT"), (ada, "COMMUNITY"), (second, "BUSINESS")):
        payload = await world.mutate(
            "createCollective",
            by=by,
            type=kind,
            name=kind.title(),
            slug=f"new-{kind.lower()}",
            currency="USD",
        )
        assert payload["errors"] == []
    to = sorted([world.admin.email, second.email])
    async with world.sessions() as session:
        query = text(
            "SELECT payload->>'name' AS name, array_agg(recipient ORDER BY recipient) AS recipients"
            " FROM outbox WHERE template = 'organization_created' GROUP BY 1"
        )
        rows = {row.name: row.recipients for row in await session.execute(query)}
    assert rows == {"Nonprofit": to, "Business": [world.admin.email]}


async def test_a_repeated_decision_queues_no_second_mail(world: World) -> None:
    scene = await DonationScene.create(world)
    order_id = await scene.expense("1.00")
    key: dict[str, Any] = {"idempotencyKey": "again"}
    for mutation, by, template in (
        ("approveOrder", scene.giver, "expense_approved"),
        ("payOrder", scene.holder, "money_received"),
    ):
        answers = [await world.mutate(mutation, by=by, id=order_id, **key) for _ in range(3)]
        assert [error_code(answer) for answer in answers] == [None] * 3
        assert (await mailed(world, template)).count(scene.payee.email) == 1
    other = await scene.expense("1.00")
    for _ in range(2):
        refused = await world.mutate(
            "rejectOrder", by=scene.giver, id=other, reason="no", idempotencyKey="no"
        )
        assert error_code(refused) is None
    assert await mailed(world, "order_closed") == [scene.payee.email]


async def test_a_merged_user_gets_no_mail(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    arguments: dict[str, Any] = {"from": ref(twin), "into": ref(ada)}
    await world.consent_to_merge(twin, ada)
    merged = await world.mutate("mergeUsers", by=world.admin, **arguments)
    assert merged["errors"] == []
    async with world.sessions() as session, session.begin():
        await outbox.mail_users(session, user_ids=[twin.user.id], template="money_received", payload=FACTS)
    assert await mailed(world, "money_received") == []


async def test_both_persons_hear_of_a_merge(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    arguments: dict[str, Any] = {"from": ref(twin), "into": ref(ada)}
    for _ in range(2):  # a repeated request sends nothing
        assert (await world.mutate("mergeUsers", by=twin, **arguments))["errors"] == []
        assert await mailed(world, "merge_requested") == [ada.email]
    dry = await world.mutate("mergeUsers", by=ada, **arguments, dryRun=True)
    assert dry["errors"] == []
    assert await mailed(world, "accounts_merged") == []
    key = {"idempotencyKey": "merge"}
    for _ in range(2):
        assert (await world.mutate("mergeUsers", by=ada, **arguments, **key))["errors"] == []
        assert sorted(await mailed(world, "accounts_merged")) == [ada.email, twin.email]
    assert await mailed(world, "merge_requested") == [ada.email]


async def test_both_persons_hear_of_a_merge_that_an_admin_asks_for(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    arguments: dict[str, Any] = {"from": ref(twin), "into": ref(ada)}
    assert (await world.mutate("mergeUsers", by=world.admin, **arguments))["errors"] == []
    assert sorted(await mailed(world, "merge_requested")) == [ada.email, twin.email]
    refused = await world.execute(
        "mutation($i: MergeUsersInput!) { mergeUsers(input: $i) { isMerged } }",
        by=await world.person("eve"),
        i=arguments,
    )
    assert refused["errors"]
    assert len(await mailed(world, "merge_requested")) == 2
