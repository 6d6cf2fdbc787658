"""Gifts without an account: they show no giver until whoever owns the address claims them."""

from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from models import Collective, now
from models.enums import OrderStatus
from services.providers import fake
from services.providers.protocol import EventKind
from tests.donation_world import decode_order_id, error_code
from tests.factories import Person, World, money, ref
from tests.payment_world import GIFT, CardScene, order_of, payment_of

SEEN = """query($id: ID!) { order(id: $id) { status from { slug } claimedGiver { slug } privateMessage
    transactions { fromCollective { slug } } } }"""
PUBLIC = "order { id status from { slug } createdBy { slug } claimedGiver { slug } privateMessage }"
TOKEN = "SELECT payload ->> 'token' FROM outbox WHERE template = 'guest_receipt' AND recipient = :address"
BACKERS = """SELECT count(*) FROM member WHERE role = 'BACKER' AND collective_id = :id AND until IS NULL"""


@pytest.fixture
async def scene(world: World) -> CardScene:
    """Return a host that takes cards."""
    return await CardScene.create(world)


async def give(scene: CardScene, email: str, fields: str = GIFT, **more: Any) -> dict[str, Any]:
    """Give 100.00 to babel as a guest, by card; return the payload."""
    arguments = {
        "email": email,
        "name": "Gale Guest",
        "to": ref(scene.donations.babel),
        "amount": money("100.00"),
        "payWith": {"id": scene.method},
    }
    return await scene.world.mutate("donateAsGuest", fields, by=None, **(arguments | more))


async def pay(scene: CardScene, payload: dict[str, Any]) -> str:
    """Pay a guest's gift; return the order's id."""
    order = order_of(payload)
    assert await scene.tell(scene.event(EventKind.SUCCEEDED, order)) is None
    return order


async def test_a_guest_gives_gets_a_receipt_and_claims_the_gift(scene: CardScene) -> None:
    babel, world = scene.donations.babel, scene.world
    order = await pay(scene, await give(scene, "gale@commonweal.test"))
    assert await scene.status(order) is OrderStatus.PAID
    assert await world.balance(babel) == (8680, 0)
    seen = (await world.query(SEEN, id=order))["order"]
    assert seen["from"] == ref(scene.donations.host)
    assert (seen["claimedGiver"], seen["privateMessage"]) == (None, None)
    assert seen["transactions"] == [{"fromCollective": None}]
    assert await world.scalar(BACKERS, id=babel.id) == 0

    token = await world.scalar(TOKEN, address="gale@commonweal.test")
    claimed = await world.mutate(
        "verifyEmail", "user { slug name }", by=None, token=token, password="a long password"
    )
    assert claimed["errors"] == []
    assert claimed["user"]["name"] == "Gale Guest"
    seen = (await world.query(SEEN, id=order))["order"]
    assert seen["from"] == {"slug": claimed["user"]["slug"]}
    assert await world.scalar(BACKERS, id=babel.id) == 1
    await world.assert_clean_ledger()


async def test_the_answer_tells_nothing_of_the_address(scene: CardScene) -> None:
    known = await scene.world.person("known")
    answers = []
    for email in (known.email, "nobody@commonweal.test"):
        payload = await give(scene, email, PUBLIC)
        answers.append(payload | {"order": payload["order"] | {"id": ""}})
    assert answers[0] == answers[1]
    assert answers[0]["order"]["from"] == ref(scene.donations.host)
    assert answers[0]["order"]["createdBy"] is None
    rehearsed = [await give(scene, e, PUBLIC, dryRun=True) for e in (known.email, "new@commonweal.test")]
    assert {str(p | {"order": p["order"] | {"id": ""}}) for p in rehearsed} == {str(answers[0])}
    new = "SELECT count(*) FROM credential WHERE email = 'new@commonweal.test'"
    assert await scene.world.scalar(new) == 0


async def test_who_has_an_account_confirms_a_gift_in_it(scene: CardScene) -> None:
    known = await scene.world.person("known")
    order = await pay(scene, await give(scene, known.email))
    seen = (await scene.world.query(SEEN, by=known, id=order))["order"]
    assert (seen["from"], seen["claimedGiver"]) == (ref(scene.donations.host), ref(known))
    payload = await scene.world.mutate("confirmContribution", "order { from { slug } }", by=known, id=order)
    assert payload == {"order": {"from": ref(known)}, "errors": []}
    assert await scene.world.scalar(BACKERS, id=scene.donations.babel.id) == 1


async def test_the_sixth_gift_in_an_hour_is_refused(scene: CardScene) -> None:
    for _ in range(5):
        order_of(await give(scene, "often@commonweal.test"))
    before = await scene.world.scalar('SELECT count(*) FROM "order"')
    assert error_code(await give(scene, "often@commonweal.test")) == "RATE_LIMITED"
    assert await scene.world.scalar('SELECT count(*) FROM "order"') == before
    order_of(await give(scene, "seldom@commonweal.test"))


async def test_a_guest_gives_once_for_each_key(scene: CardScene) -> None:
    first = await give(scene, "gale@commonweal.test", idempotencyKey="k")
    assert await give(scene, "gale@commonweal.test", idempotencyKey="k") == first
    other = await give(scene, "gale@commonweal.test", idempotencyKey="k", amount=money("5.00"))
    assert error_code(other) == "IDEMPOTENCY_CONFLICT"


async def test_a_guests_transfer_is_approved_by_the_host(scene: CardScene) -> None:
    payload = await give(scene, "gale@commonweal.test", payWith=None, paymentMethod="MANUAL")
    assert (payload["errors"], payload["clientSecret"]) == ([], None)
    order = payload["order"]["id"]
    approved = await scene.world.mutate("approveOrder", by=scene.donations.holder, id=order)
    assert approved["errors"] == []
    assert await scene.status(order) is OrderStatus.PAID


async def test_a_guest_has_no_balance(scene: CardScene) -> None:
    assert error_code(await give(scene, "g@commonweal.test", payWith={"type": "BALANCE"})) == "INVALID_INPUT"
    assert error_code(await give(scene, "no address")) == "INVALID_INPUT"
    assert error_code(await give(scene, "g@commonweal.test", name=" ")) == "INVALID_INPUT"


async def test_a_guests_gift_to_the_host_itself(scene: CardScene) -> None:
    order = await pay(scene, await give(scene, "g@commonweal.test", to=ref(scene.donations.host)))
    assert await scene.status(order) is OrderStatus.PAID
    await scene.world.assert_clean_ledger()


async def test_only_the_host_reads_a_guests_name_until_the_gift_is_claimed(scene: CardScene) -> None:
    order = await pay(scene, await give(scene, "gale@commonweal.test"))

    async def read(by: Person) -> str | None:
        message: str | None = (await scene.world.query(SEEN, by=by, id=order))["order"]["privateMessage"]
        return message

    payee_admin, holder = scene.donations.friend, scene.donations.holder
    assert [await read(by) for by in (holder, scene.world.admin)] == ["Gale Guest", "Gale Guest"]
    assert await read(payee_admin) is None
    token = await scene.world.scalar(TOKEN, address="gale@commonweal.test")
    await scene.world.mutate("verifyEmail", by=None, token=token, password="a long password")
    assert await read(payee_admin) == "Gale Guest"


async def test_a_guests_gift_to_a_person_is_as_private_as_any(scene: CardScene) -> None:
    world = scene.world
    person = await world.person("taker")
    async with world.sessions() as session, session.begin():
        await session.execute(
            update(Collective)
            .where(col(Collective.id) == person.user.id)
            .values(host_id=scene.donations.host.id, host_approved_at=now())
        )
    payload = await give(scene, "gale@commonweal.test", to=ref(person), amount=money("10.00"))
    order = await pay(scene, payload)
    seen = await world.query(
        "query($id: ID!) { order(id: $id) { id } transactions { totalCount } }", id=order
    )
    assert seen == {"order": None, "transactions": {"totalCount": 1}}  # the funds of the scene


async def test_a_guest_learns_nothing_of_the_owners_keys(scene: CardScene) -> None:
    known = await scene.world.person("known")
    await scene.world.fund(known.user, "5.00", by=scene.world.admin)
    gift: dict[str, Any] = {"from": ref(known), "to": ref(scene.donations.babel), "amount": money("1.00")}
    given = await scene.world.mutate("donate", by=known, idempotencyKey="monthly-1", **gift)
    assert given["errors"] == []
    order_of(await give(scene, known.email, idempotencyKey="monthly-1"))
    order_of(await give(scene, known.email, idempotencyKey="monthly-2"))
    again = await scene.world.mutate("donate", by=known, idempotencyKey="monthly-2", **gift)
    assert again["errors"] == []
    assert error_code(await give(scene, known.email, idempotencyKey="")) == "INVALID_INPUT"


async def test_a_network_gives_20_gifts_an_hour(scene: CardScene) -> None:
    answers = [await give(scene, f"guest{n}@commonweal.test", payWith={"type": "MANUAL"}) for n in range(21)]
    assert [error_code(answer) for answer in answers if answer["errors"]] == ["RATE_LIMITED"]
    assert answers[20]["order"] is None


async def test_a_transfer_goes_to_the_account_of_its_own_method(scene: CardScene) -> None:
    ids = []
    for iban in ("DE89370400440532013000", "GB33BUKB20201555555555"):
        payload = await scene.world.mutate(
            "createPaymentMethod",
            "paymentMethod { id }",
            by=scene.donations.holder,
            host=ref(scene.donations.host),
            name="Bank",
            type="MANUAL",
            iban=iban,
        )
        ids.append(payload["paymentMethod"]["id"])
    told = []
    for method in ({"id": ids[0]}, {"type": "MANUAL"}):
        fields = "order { id } paymentInstructions { iban }"
        payload = await give(scene, "gale@commonweal.test", fields, payWith=method)
        told.append(payload["paymentInstructions"]["iban"])
    assert told == ["DE89370400440532013000", "GB33BUKB20201555555555"]


async def test_the_guest_is_told_of_what_becomes_of_the_gift(scene: CardScene) -> None:
    async def told(template: str) -> list[str]:
        mails = "SELECT array_agg(recipient ORDER BY recipient) FROM outbox WHERE template = :template"
        return list(await scene.world.scalar(mails, template=template))

    address, holder = "gale@commonweal.test", scene.donations.holder
    refused = order_of(await give(scene, address))
    await scene.tell(scene.event(EventKind.FAILED, refused, failure="The card was declined."))
    assert await told("order_closed") == [address]
    manual = await give(scene, address, payWith={"type": "MANUAL"})
    rejected = await scene.world.mutate(
        "rejectOrder", by=holder, id=manual["order"]["id"], reason="It never came."
    )
    assert rejected["errors"] == []
    assert await told("order_closed") == [address, address]
    await scene.world.fund(scene.donations.host, "10.00", by=holder)
    paid = await pay(scene, await give(scene, address))
    refunded = await scene.world.mutate("refundOrder", by=holder, id=paid)
    assert refunded["errors"] == []
    await scene.send_refunds()
    assert await told("order_refunded") == sorted([address, scene.donations.friend.email])


async def test_a_guests_card_is_not_kept(scene: CardScene) -> None:
    order = order_of(await give(scene, "gale@commonweal.test"))
    for event in fake.events_of_card(
        fake.SUCCEEDS, account=scene.account, payment=payment_of(order), order_id=decode_order_id(order)
    ):
        assert await scene.tell(event) is None
    assert await scene.status(order) is OrderStatus.PAID
    assert await scene.world.scalar("SELECT count(*) FROM instrument") == 0


async def test_the_database_keeps_a_guests_gift_with_the_host_and_the_card_with_its_giver(
    scene: CardScene,
) -> None:
    await scene.paid()  # whose card is kept
    order = order_of(await give(scene, "gale@commonweal.test"))
    keeps = "UPDATE provider_payment SET instrument_id = (SELECT id FROM instrument) WHERE order_id = :id"
    moves = """INSERT INTO "order" SELECT (jsonb_populate_record(o, jsonb_build_object(
        'id', gen_random_uuid(), 'from_id', CAST(:other AS uuid)))).* FROM "order" o WHERE id = :id"""
    values = {"id": decode_order_id(order)}
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="a card of its giver"):
            await session.execute(text(keeps), values)
    async with scene.world.sessions() as session:
        with pytest.raises(DBAPIError, match="only once the giver confirms"):
            await session.execute(text(moves), values | {"other": scene.giver.user.id})
