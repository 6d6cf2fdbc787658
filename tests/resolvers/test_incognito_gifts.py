"""Incognito gifts: who sees the giver on each path, and that no filter tells others."""

import io
import json
import zipfile
from typing import Any

import psycopg
import pytest

from services.core import public_ids
from services.orders import personal_exports
from services.recurring import charging
from tests.donation_world import decode_order_id, error_code, expect_status
from tests.factories import World, error_codes, money, ref
from tests.incognito_world import KNOWING, OTHERS, SUBSCRIBED, IncognitoScene, begin, names
from tests.tier_world import create_tier

ORDER = """order(id: $id) { isIncognito amount { value } to { slug } from { slug } createdBy { slug }
    actions { type actor { slug } } transactions { id kind } }"""
PAYER = """kind amount { value } toCollectiveAmount { value } fromCollective { slug } fromHost { slug }
    fromCollectiveAmount { value } fromHostAmount { value } fromCollectiveFxRate fromHostFxRate"""
HIDDEN = dict.fromkeys(
    (
        "fromCollective",
        "fromHost",
        "fromCollectiveAmount",
        "fromHostAmount",
        "fromCollectiveFxRate",
        "fromHostFxRate",
    )
)


@pytest.fixture
async def scene(shared: World) -> IncognitoScene:
    """Return a person with a balance, and viewers."""
    return await IncognitoScene.create(shared)


@pytest.mark.parametrize("viewer", [*KNOWING, *OTHERS])
async def test_who_sees_the_giver_of_an_order(scene: IncognitoScene, viewer: str) -> None:
    order = await scene.give(platformTip=money("1.00"))
    seen = (await scene.see(f"query($id: ID!) {{ {ORDER} }}", viewer, id=order))["order"]
    slug = ref(scene.giver) if viewer in KNOWING else None
    assert (seen["isIncognito"], seen["amount"]["value"]) == (True, "10.00")
    assert seen["to"] == ref(scene.donations.babel)
    assert (seen["from"], seen["createdBy"]) == (slug, slug)
    assert [step["actor"] for step in seen["actions"]] == [slug, slug]
    assert [row["kind"] for row in seen["transactions"]] == ["DONATION", "PLATFORM_TIP"]
    for row in seen["transactions"]:
        query = f"query($id: ID!) {{ transaction(id: $id) {{ {PAYER} }} }}"
        transaction = (await scene.see(query, viewer, id=row["id"]))["transaction"]
        if viewer in KNOWING:
            assert transaction["fromCollective"] == slug
            assert transaction["fromHostAmount"]["value"].startswith("-")
            assert transaction["fromCollectiveFxRate"] is not None
        else:
            assert transaction.items() >= HIDDEN.items()
            assert transaction["amount"]["value"] in {"10.00", "1.00"}


@pytest.mark.parametrize("viewer", [*KNOWING, "payee_admin"])
async def test_who_sees_the_giver_of_a_recurring_gift(scene: IncognitoScene, viewer: str) -> None:
    gift = await begin(scene)
    query = """query($id: ID!) { node(id: $id) { ... on RecurringGift {
        isIncognito amount { value } from { slug } createdBy { slug } } }
        orders(filter: {subscription: $id}) { nodes { from { slug } isIncognito subscription { id } } } }"""
    seen = await scene.see(query, viewer, id=gift)
    slug = ref(scene.giver) if viewer in KNOWING else None
    assert seen["node"] == {
        "isIncognito": True,
        "amount": {"value": "10.00"},
        "from": slug,
        "createdBy": slug,
    }
    assert seen["orders"]["nodes"] == [{"from": slug, "isIncognito": True, "subscription": {"id": gift}}]


@pytest.mark.parametrize("first", [True, False])
async def test_a_change_of_a_recurring_gift_links_nothing(scene: IncognitoScene, first: bool) -> None:
    gift = await begin(scene, isIncognito=first)
    changed = await scene.world.mutate(
        "updateSubscription", SUBSCRIBED, by=scene.giver, id=gift, isIncognito=not first
    )
    assert changed["errors"] == []
    assert changed["subscription"]["isIncognito"] is not first
    query = """query($id: ID!, $c: CollectiveRef!) {
        linked: orders(filter: {subscription: $id}) { totalCount nodes { id } }
        all: orders(filter: {to: $c}) { nodes { isIncognito subscription { id } } } }"""
    to = ref(scene.donations.babel)
    for viewer in ("payee_admin", "stranger", "anonymous"):
        seen = await scene.see(query, viewer, id=gift, c=to)
        assert seen["linked"]["totalCount"] == 0
        assert seen["all"]["nodes"] == [{"isIncognito": first, "subscription": None}]
    for viewer in KNOWING:
        seen = await scene.see(query, viewer, id=gift, c=to)
        assert seen["linked"]["totalCount"] == 1
        assert seen["all"]["nodes"] == [{"isIncognito": first, "subscription": {"id": gift}}]


async def test_mails_to_the_payee_do_not_name_the_giver(scene: IncognitoScene) -> None:
    world, babel = scene.world, scene.donations.babel
    await scene.give(description="For all")
    gift = await begin(scene)
    assert (await world.mutate("pauseSubscription", by=scene.giver, id=gift))["errors"] == []
    assert (await world.mutate("cancelSubscription", by=scene.donations.friend, id=gift))["errors"] == []
    sent = await world.scalar(
        "SELECT jsonb_agg(jsonb_build_array(template, recipient, payload)) FROM outbox"
        " WHERE recipient IN (:friend, :giver)",
        friend=scene.donations.friend.email,
        giver=scene.giver.email,
    )
    to_friend = [mail for mail in sent if mail[1] == scene.donations.friend.email]
    assert {mail[0] for mail in to_friend} == {"money_received", "gift_paused"}
    assert scene.giver.user.name not in json.dumps([mail[2] for mail in to_friend])
    (ended,) = [mail[2] for mail in sent if mail[0] == "gift_ended"]
    assert (ended["payer"], ended["to"]) == (scene.giver.user.name, babel.name)


async def test_a_bank_transfer_is_approved_by_the_host_and_refunded(scene: IncognitoScene) -> None:
    donations, world = scene.donations, scene.world
    order = await scene.give(payWith={"type": "MANUAL"})
    assert expect_status(await donations.approve(order, by=donations.holder)) == "PAID"
    refund = await donations.refund(order, by=donations.holder)
    assert refund["errors"] == []
    for viewer in OTHERS:
        seen = await scene.see(
            f"query($s: String!) {{ collective(slug: $s) {{ transactions {{ nodes {{ {PAYER} }} }} }} }}",
            viewer,
            s=donations.babel.slug,
        )
        rows = seen["collective"]["transactions"]["nodes"]
        assert sorted(row["kind"] for row in rows) == ["DONATION", "REFUND"]
        assert all(row["fromCollective"] is None for row in rows)
        actors = (await scene.see(f"query($id: ID!) {{ {ORDER} }}", viewer, id=order))["order"]["actions"]
        assert actors[0]["actor"] is None
        assert actors[-1]["actor"] == ref(donations.holder)
    await world.assert_clean_ledger()


async def test_a_public_gift_makes_a_backer_and_its_refund_ends_that(scene: IncognitoScene) -> None:
    backers = "SELECT count(*) FROM member WHERE role = 'BACKER' AND collective_id = :id AND until IS NULL"
    babel = scene.donations.babel
    await scene.give()
    assert await scene.world.scalar(backers, id=babel.id) == 0
    public = await scene.give(isIncognito=False)
    assert await scene.world.scalar(backers, id=babel.id) == 1
    hidden = await scene.give()
    assert (await scene.donations.refund(hidden, by=scene.donations.holder))["errors"] == []
    assert await scene.world.scalar(backers, id=babel.id) == 1
    assert (await scene.donations.refund(public, by=scene.donations.holder))["errors"] == []
    assert await scene.world.scalar(backers, id=babel.id) == 0


async def test_a_collective_cannot_give_incognito(scene: IncognitoScene) -> None:
    before = await scene.world.fingerprint()
    payload = await scene.donations.donate("1.00", isIncognito=True)
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "isIncognito"])]
    assert await scene.world.fingerprint() == before


async def test_a_ticket_cannot_be_incognito(scene: IncognitoScene) -> None:
    donations, world = scene.donations, scene.world
    event = await world.mutate(
        "createEvent",
        "event { id slug }",
        by=donations.friend,
        parent=ref(donations.babel),
        name="Gala",
        startsAt="2027-01-01T10:00Z",
        endsAt="2027-01-01T12:00Z",
    )
    assert event["errors"] == []
    tier = await world.mutate(
        "createTier",
        "tier { id }",
        by=donations.friend,
        collective={"id": event["event"]["id"]},
        type="TICKET",
        name="Seat",
        amount=money("10.00"),
    )
    ticket: dict[str, Any] = {
        "tier": tier["tier"]["id"],
        "to": ref(donations.babel),
        "amount": money("10.00"),
    }
    gift: dict[str, Any] = {"from": ref(scene.giver), "isIncognito": True}
    await world.expect_problem(
        "donate", "INVALID_INPUT", ["input", "isIncognito"], by=scene.giver, **ticket, **gift
    )
    guest: dict[str, Any] = {"email": "gale@commonweal.test", "name": "Gale", "payWith": {"type": "MANUAL"}}
    payload = await world.mutate("donateAsGuest", by=None, **ticket, **guest, isIncognito=True)
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "isIncognito"])]


async def test_a_membership_is_given_incognito(scene: IncognitoScene) -> None:
    tier = await create_tier(scene.donations)
    order = await scene.give(tier=tier)
    query = "query($id: ID!) { order(id: $id) { from { slug } tier { sold } } }"
    assert (await scene.see(query, "payee_admin", id=order))["order"] == {"from": None, "tier": {"sold": 1}}


async def test_the_same_key_with_another_visibility_is_a_conflict(scene: IncognitoScene) -> None:
    first = await scene.give(idempotencyKey="k")
    assert await scene.give(idempotencyKey="k") == first
    other = await scene.donations.donate(
        "10.00", by=scene.giver, from_=scene.giver, idempotencyKey="k", isIncognito=False
    )
    assert error_code(other) == "IDEMPOTENCY_CONFLICT"


async def test_a_dry_run_stores_nothing(scene: IncognitoScene) -> None:
    before = await scene.world.fingerprint()
    payload = await scene.world.mutate(
        "donate",
        "order { isIncognito from { slug } }",
        by=scene.giver,
        to=ref(scene.donations.babel),
        amount=money("1.00"),
        dryRun=True,
        isIncognito=True,
        **{"from": ref(scene.giver)},
    )
    assert payload == {"order": {"isIncognito": True, "from": ref(scene.giver)}, "errors": []}
    assert await scene.world.fingerprint() == before


async def test_a_change_of_a_recurring_gift_is_the_givers(scene: IncognitoScene) -> None:
    gift = await begin(scene)
    before = await scene.world.fingerprint()
    change = "mutation($i: UpdateSubscriptionInput!) { updateSubscription(input: $i) { errors { code } } }"
    terms = {"id": gift, "isIncognito": False}
    for viewer in ("payee_admin", "host_admin", "anonymous"):
        answer = await scene.world.execute(change, by=scene.viewers[viewer], i=terms)
        code = "UNAUTHENTICATED" if viewer == "anonymous" else "FORBIDDEN"
        assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    await scene.world.expect_problem(
        "updateSubscription", "NOT_FOUND", ["input", "id"], by=scene.viewers["stranger"], **terms
    )
    assert await scene.world.fingerprint() == before
    dry = await scene.world.mutate(
        "updateSubscription", SUBSCRIBED, by=scene.giver, id=gift, isIncognito=False, dryRun=True
    )
    assert dry["subscription"]["isIncognito"] is False
    assert await scene.world.fingerprint() == before


async def test_of_a_payees_export_the_giver_is_left_out(scene: IncognitoScene) -> None:
    """A person who gets a gift has a copy of its rows, without who gave it."""
    getter = await scene.world.person("getter" + scene.donations.suffix)
    await scene.world.fund(getter.user, "1.00", by=scene.world.admin)
    order = await scene.give(to=getter)
    copies = {}
    for person in (getter, scene.giver):
        file = io.BytesIO()
        async with scene.world.sessions() as session:
            with zipfile.ZipFile(file, "w") as archive:
                await personal_exports.write_tables(session, archive, user_id=person.user.id)
            with zipfile.ZipFile(file) as archive:
                copies[person.slug] = {name: archive.read(name).decode() for name in archive.namelist()}
    giver_id = str(scene.giver.user.id)
    assert str(decode_order_id(order)) in copies[getter.slug]["json/order.json"]
    assert not [name for name, text in copies[getter.slug].items() if giver_id in text]
    assert giver_id in copies[scene.giver.slug]["json/order.json"]


async def test_the_audit_log_of_the_payee_does_not_name_the_giver(scene: IncognitoScene) -> None:
    gift = await begin(scene)
    await scene.world.mutate("updateSubscription", by=scene.giver, id=gift, amount=money("9.00"))
    query = """query($slug: String!) { collective(slug: $slug) { auditLog { nodes {
        kind change actor { slug } collective { slug } other { slug } } } } }"""
    log = (await scene.see(query, "payee_admin", slug=scene.donations.babel.slug))["collective"]["auditLog"]
    assert not names(scene, log)
    log = (await scene.see(query, "giver", slug=scene.giver.slug))["collective"]["auditLog"]
    acts = [(act["kind"], act["change"]) for act in log["nodes"]]
    assert acts[:2] == [("INCOGNITO_GIFT", "CHANGED"), ("INCOGNITO_GIFT", "ADDED")]


async def test_who_made_a_gift_public_is_in_the_audit_log_of_both(scene: IncognitoScene) -> None:
    gift = await begin(scene)
    await scene.world.mutate("updateSubscription", by=scene.giver, id=gift, isIncognito=False)
    query = """query($slug: String!) { collective(slug: $slug) { auditLog { nodes {
        kind values { field old new } } } } }"""
    log = (await scene.see(query, "payee_admin", slug=scene.donations.babel.slug))["collective"]["auditLog"]
    assert log["nodes"][0]["kind"] == "RECURRING_GIFT"
    assert [value["field"] for value in log["nodes"][0]["values"]] == ["isIncognito"]


async def test_a_guest_stays_unknown_after_claiming_the_gift(scene: IncognitoScene) -> None:
    world, donations = scene.world, scene.donations
    known = await world.person("known" + donations.suffix)
    payload = await world.mutate(
        "donateAsGuest",
        "order { id isIncognito }",
        by=None,
        email=known.email,
        name="Gale Guest",
        to=ref(donations.babel),
        amount=money("10.00"),
        payWith={"type": "MANUAL"},
        isIncognito=True,
    )
    assert payload["errors"] == []
    order = payload["order"]["id"]
    assert expect_status(await donations.approve(order, by=donations.holder)) == "PAID"
    scene.viewers["guest"] = known
    found = await scene.see("query($id: ID!) { order(id: $id) { from { slug } } }", "guest", id=order)
    assert found == {"order": {"from": ref(donations.host)}}  # which stands for the guest until then
    confirmed = await world.mutate("confirmContribution", "order { from { slug } }", by=known, id=order)
    assert confirmed == {"order": {"from": ref(known)}, "errors": []}
    query = """query($id: ID!, $c: CollectiveRef!) {
        order(id: $id) { from { slug } claimedGiver { slug } privateMessage actions { actor { slug } }
            transactions { fromCollective { slug } } }
        orders(filter: {from: $c}) { totalCount } }"""
    for viewer in (*OTHERS, "host_admin", "platform_admin"):
        seen = await scene.see(query, viewer, id=order, c=ref(known))
        if viewer in OTHERS:
            assert (seen["order"]["from"], seen["order"]["privateMessage"]) == (None, None)
            assert known.slug not in json.dumps(seen)
            assert seen["orders"]["totalCount"] == 0
        else:
            assert (seen["order"]["from"], seen["order"]["privateMessage"]) == (ref(known), "Gale Guest")
            assert seen["orders"]["totalCount"] == 1
    backers = "SELECT count(*) FROM member WHERE role = 'BACKER' AND collective_id = :id"
    assert await world.scalar(backers, id=donations.babel.id) == 0


async def test_the_gift_to_a_host_is_seen_by_its_admins(scene: IncognitoScene) -> None:
    host = scene.donations.host
    order = await scene.give(to=host)
    query = "query($id: ID!) { order(id: $id) { from { slug } } }"
    assert (await scene.see(query, "host_admin", id=order))["order"]["from"] == ref(scene.giver)
    assert (await scene.see(query, "payee_admin", id=order))["order"]["from"] is None


async def test_later_charges_are_what_the_gift_is_by_then(scene: IncognitoScene) -> None:
    gift = await begin(scene, isIncognito=False)
    await scene.world.mutate("updateSubscription", by=scene.giver, id=gift, isIncognito=True)
    with psycopg.connect(str(scene.world.settings.owner_database_url)) as owner:
        move_back(owner, gift)
    assert await charging.charge_due(scene.world.sessions) >= 1
    query = "query($c: CollectiveRef!) { orders(filter: {to: $c}) { nodes { isIncognito from { slug } } } }"
    seen = await scene.see(query, "payee_admin", c=ref(scene.donations.babel))
    assert seen["orders"]["nodes"] == [
        {"isIncognito": True, "from": None},
        {"isIncognito": False, "from": ref(scene.giver)},
    ]


def move_back(owner: psycopg.Connection[Any], gift: str) -> None:
    """Let a gift have begun a month earlier: as the owner, without the guards of what never changes."""
    guards = {"subscription": "subscription_update_guard", '"order"': "order_terms_guard"}
    row_id = public_ids.decode("RecurringGift", gift, field="id")
    for table, guard in guards.items():
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER {guard}".encode())
    owner.execute(
        """UPDATE subscription SET starts_on = starts_on - interval '1 month', due_at = now(),
            next_charge_on = next_charge_on - interval '1 month' WHERE id = %s""",
        (row_id,),
    )
    owner.execute(
        "UPDATE \"order\" SET period = period - interval '1 month' WHERE subscription_id = %s", (row_id,)
    )
    for table, guard in guards.items():
        owner.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}".encode())
