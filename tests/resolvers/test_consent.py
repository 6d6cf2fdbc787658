"""An address does not show the person, and nobody appears in public before agreeing to it."""

from datetime import timedelta
from typing import Any

import pytest

from models import now
from models.enums import MemberRole
from tests.event_world import MEMBER, EventScene
from tests.factories import Person, World, ref
from tests.hours_world import yesterday

RESULTS = "results { email role member { id member { slug name } } errors { code message } }"
SHOWN = """query($s: String!) { collective(slug: $s) {
    members(first: 100) { totalCount nodes { id role member { slug name } } } } }"""
BELONGS = (
    "query($s: String!) { collective(slug: $s) { memberOf(first: 100) { nodes { collective { slug } } } } }"
)
NODE = "query($id: ID!) { node(id: $id) { ... on Member { member { slug } } } }"


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


async def invite(scene: EventScene, event: dict[str, Any], **whom: Any) -> list[dict[str, Any]]:
    payload = await scene.world.mutate("inviteToEvent", RESULTS, by=scene.chris, event=event, **whom)
    assert payload["errors"] == []
    results: list[dict[str, Any]] = payload["results"]
    return results


async def shown(scene: EventScene, event: dict[str, Any], by: Person | None) -> set[str]:
    members = (await scene.world.query(SHOWN, by=by, s=event["slug"]))["collective"]["members"]
    slugs = {node["member"]["slug"] for node in members["nodes"]}
    assert members["totalCount"] == len(members["nodes"])
    return slugs - {scene.chris.slug, scene.nonprofit.slug}


@pytest.mark.parametrize("send_mail", [True, False])
async def test_an_invitation_by_address_does_not_tell_whose_it_is(scene: EventScene, send_mail: bool) -> None:
    victim, event = await scene.person("victim"), await scene.event()
    emails = [victim.email, f"nobody{scene.suffix}@example.org"]
    known, unknown = await invite(scene, event, emails=emails, sendMail=send_mail)
    assert known | {"email": None} == unknown | {"email": None}
    assert known["role"] == "ATTENDEE"
    assert known["member"] is None
    for viewer in (None, scene.chris, await scene.person("passerby")):
        assert await shown(scene, event, viewer) == set()
        data = await scene.world.query(BELONGS, by=viewer, s=victim.slug)
        assert data["collective"]["memberOf"]["nodes"] == []
    assert await shown(scene, event, victim) == {victim.slug}
    assert await scene.counts(event) == (2, 0)


async def test_a_named_user_is_shown_to_the_hosts_alone_until_they_agree(scene: EventScene) -> None:
    victim, event = await scene.person("victim"), await scene.event()
    (named,) = await invite(scene, event, users=[ref(victim)])
    assert named["member"]["member"]["slug"] == victim.slug
    member_id = named["member"]["id"]
    assert await shown(scene, event, None) == set()
    assert (await scene.world.query(NODE, id=member_id))["node"] is None
    assert await shown(scene, event, scene.chris) == {victim.slug}
    await scene.register(event, "victim")
    assert await shown(scene, event, None) == {victim.slug}
    assert (await scene.world.query(NODE, id=member_id))["node"]["member"]["slug"] == victim.slug


async def test_signing_up_agrees(scene: EventScene) -> None:
    event, email = await scene.event(), f"new{scene.suffix}@example.org"
    await invite(scene, event, emails=[email])
    assert await shown(scene, event, None) == set()
    await scene.world.mutate("signUp", email=email, name="New Person")
    sql = "SELECT payload ->> 'token' FROM outbox WHERE recipient = :e AND template = 'verify_email'"
    token = await scene.world.scalar(sql, e=email)
    payload = await scene.world.mutate(
        "verifyEmail", "user { slug }", token=token, password="correct horse battery"
    )
    assert payload["errors"] == []
    assert await shown(scene, event, None) == {payload["user"]["slug"]}


async def test_promotion_from_the_waiting_list_is_no_consent(scene: EventScene) -> None:
    victim, event = await scene.person("victim"), await scene.event(capacity=1)
    await scene.register(event, "ann")
    (waiting,) = await invite(scene, event, emails=[victim.email])
    assert waiting["role"] == "WAITING"
    await scene.world.mutate("cancelRegistration", by=scene.people["ann"], event=event)
    assert await scene.counts(event) == (1, 0)
    assert await shown(scene, event, None) == set()
    assert await shown(scene, event, scene.chris) == set()


async def test_a_person_who_is_let_in_is_shown_to_the_hosts_alone(scene: EventScene) -> None:
    victim, event = await scene.person("victim"), await scene.event(starts=-1)
    payload = await scene.world.mutate("checkIn", MEMBER, by=scene.chris, event=event, email=victim.email)
    assert payload["errors"] == []
    assert await shown(scene, event, scene.chris) == {victim.slug}
    nonprofit = {"slug": scene.nonprofit.slug}
    for viewer, people in ((None, set()), (scene.chris, {victim.slug}), (victim, {victim.slug})):
        assert await shown(scene, event, viewer) == people
        assert await shown(scene, nonprofit, viewer) == people


async def test_a_registered_volunteer_who_is_let_in_stays_public(scene: EventScene) -> None:
    ann, event = await scene.person("ann"), await scene.event(starts=-1)
    await scene.register(event, "ann")
    await scene.check_in(event, ann)
    assert await shown(scene, event, None) == {ann.slug}
    assert await shown(scene, {"slug": scene.nonprofit.slug}, None) == {ann.slug}


@pytest.mark.parametrize("known", [True, False])
async def test_a_dry_run_takes_every_address_for_unknown(scene: EventScene, known: bool) -> None:
    victim, ann = await scene.person("victim"), await scene.person("ann")
    email = victim.email if known else f"nobody{scene.suffix}@example.org"
    event = await scene.event(starts=-1)
    before = await scene.world.fingerprint()
    checked = await scene.world.mutate(
        "checkIn", "order { to { slug name } }", by=scene.chris, event=event, email=email, dryRun=True
    )
    assert checked["order"]["to"]["name"] == "Invited member"
    assert checked["order"]["to"]["slug"] != victim.slug
    logged = await log_hours(scene, ann, coordinatorEmail=email, dryRun=True)
    assert logged["order"]["addressedTo"] is None
    assert await scene.world.fingerprint() == before


async def log_hours(scene: EventScene, by: Person, **more: Any) -> dict[str, Any]:
    starts = yesterday(8)
    return await scene.world.mutate(
        "logHours",
        "order { id addressedTo { slug } }",
        by=by,
        nonprofit=ref(scene.nonprofit),
        startsAt=starts.isoformat(),
        endsAt=(starts + timedelta(hours=1)).isoformat(),
        **more,
    )


async def test_a_volunteer_does_not_learn_whose_address_the_coordinators_is(scene: EventScene) -> None:
    victim, ann = await scene.person("victim"), await scene.person("ann")
    payload = await log_hours(scene, ann, coordinatorEmail=victim.email)
    assert payload["errors"] == []
    assert payload["order"]["addressedTo"] is None
    query = """query($to: String!) { orders(filter: {addressedTo: {slug: $to}}) { totalCount
        nodes { id addressedTo { slug } } } }"""
    seen = {}
    for viewer in (ann, victim, scene.chris):
        data = await scene.world.query(query, by=viewer, to=victim.slug)
        seen[viewer.slug.removesuffix(scene.suffix)] = data["orders"]["totalCount"]
    assert seen == {"ann": 0, "victim": 1, "chris": 1}


async def test_an_admin_does_not_learn_that_an_address_is_the_volunteers(scene: EventScene) -> None:
    ann = await scene.person("ann")
    for email in (ann.email, f"nobody{scene.suffix}@example.org"):
        payload = await log_hours(scene, scene.chris, volunteer=ref(ann), coordinatorEmail=email, dryRun=True)
        assert payload["errors"] == []
    assert (await log_hours(scene, scene.chris, volunteer=ref(ann), coordinatorEmail=ann.email))[
        "errors"
    ] == []


async def test_no_refusal_tells_whose_an_address_is(scene: EventScene) -> None:
    """Of a member, of somebody invited by name, of an archived person."""
    victim = await scene.person("victim")
    role: dict[str, Any] = {"collective": ref(scene.nonprofit), "role": "MEMBER"}
    await scene.world.mutate("inviteMember", by=scene.chris, user=ref(victim), **role)
    invited = await scene.world.mutate("inviteMember", by=scene.chris, email=victim.email, **role)
    assert invited["errors"] == []
    member = await scene.person("member")
    await scene.world.member(scene.nonprofit, member, MemberRole.MEMBER)
    answer = await scene.world.mutate(
        "inviteMember", "invitation { user { slug } }", by=scene.chris, email=member.email, **role
    )
    assert (answer["errors"], answer["invitation"]["user"]) == ([], None)
    gone = await scene.person("gone")
    async with scene.world.sessions() as session, session.begin():
        row = await session.merge(gone.user)
        row.archived_at = now()
    event = await scene.event(starts=-1)
    answers = [
        await scene.world.mutate("inviteMember", by=scene.chris, email=gone.email, **role),
        await scene.world.mutate("checkIn", by=scene.chris, event=event, email=gone.email),
        {"errors": (await invite(scene, event, emails=[gone.email]))[0]["errors"]},
    ]
    for payload in answers:
        (error,) = payload["errors"]
        assert error["code"] == "INVALID_STATE"
        assert gone.slug not in error["message"]
