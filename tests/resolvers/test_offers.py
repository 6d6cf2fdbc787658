"""Offers: making, changing, ending, featuring and listing them."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models import now
from models.enums import CollectiveType, MemberRole
from tests.donation_world import error_code, expect_order
from tests.factories import Person, World, public_id, ref, unused_id
from tests.offer_world import OfferScene
from tests.statement_counts import record_statements, without_control

FIELDS = """offer { id item description currentsSharePercent monthlyLimit remainingThisMonth isMaster isActive
    isFeatured redemptionCount business { slug } }"""
LIST = """query($f: OfferFilter, $o: OfferSort, $n: Int, $a: String) {
    offers(filter: $f, orderBy: $o, first: $n, after: $a) {
    nodes { item } totalCount pageInfo { hasNextPage endCursor } } }"""
FULL = """query($n: Int!) { offers(first: $n) { nodes {
    item redemptionCount remainingThisMonth business { slug name } } } }"""


@pytest.fixture
async def scene(world: World) -> OfferScene:
    return await OfferScene.create(world)


async def problem_of(
    scene: OfferScene, mutation: str, *, by: Person | None = None, **arguments: Any
) -> tuple[str, str]:
    """Return code and field of a mutation that is refused and changes nothing."""
    before = await scene.world.fingerprint()
    payload = await scene.world.mutate(mutation, by=by or scene.mark, **arguments)
    assert await scene.world.fingerprint() == before
    (error,) = payload["errors"]
    return error["code"], ".".join(error["path"])


async def denied(scene: OfferScene, mutation: str, by: Person | None, **arguments: Any) -> str:
    """Return the code of a mutation that the viewer has no right to; nothing changes."""
    before = await scene.world.fingerprint()
    name = mutation[0].upper() + mutation[1:]
    body = await scene.world.execute(
        f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}", by=by, i=arguments
    )
    assert await scene.world.fingerprint() == before
    if "errors" in body:
        return str(body["errors"][0]["extensions"]["code"])
    return str(body["data"][mutation]["errors"][0]["code"])


async def listed(world: World, *, by: Person | None = None, **arguments: Any) -> list[str]:
    """Return the items of a list of offers, which counts them."""
    offers = (await world.query(LIST, by=by, **arguments))["offers"]
    assert offers["totalCount"] == len(offers["nodes"])
    return [offer["item"] for offer in offers["nodes"]]


async def test_an_offer_is_created_and_the_platform_is_mailed(scene: OfferScene) -> None:
    payload = await scene.world.mutate(
        "createOffer",
        FIELDS,
        by=scene.mark,
        business=ref(scene.cafe),
        item=" Kombucha ",
        currentsSharePercent=25,
        monthlyLimit=3,
        description="Cold",
    )
    offer = payload["offer"]
    assert offer.pop("id").startswith("off_")
    assert offer == {
        "item": "Kombucha",
        "description": "Cold",
        "currentsSharePercent": 25,
        "monthlyLimit": 3,
        "remainingThisMonth": 3,
        "isMaster": False,
        "isActive": True,
        "isFeatured": False,
        "redemptionCount": 0,
        "business": {"slug": "cafe"},
    }
    mail = await scene.world.scalar("SELECT recipient FROM outbox WHERE template = 'offer_posted'")
    assert mail == scene.world.admin.email


BAD: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"currentsSharePercent": 4}, ("INVALID_INPUT", "input.currentsSharePercent")),
    ({"currentsSharePercent": 101}, ("INVALID_INPUT", "input.currentsSharePercent")),
    ({"monthlyLimit": 0}, ("INVALID_INPUT", "input.monthlyLimit")),
    ({"item": " "}, ("INVALID_INPUT", "input.item")),
    ({"item": "x" * 201}, ("INVALID_INPUT", "input.item")),
    ({"description": "x" * 8193}, ("INVALID_INPUT", "input.description")),
    ({"business": {"slug": "club"}}, ("INVALID_INPUT", "input.business")),
    ({"business": {"slug": "mark"}}, ("INVALID_INPUT", "input.business")),
    ({"business": {"slug": "nobody"}}, ("NOT_FOUND", "input.business")),
    ({"business": {"slug": "closed"}}, ("INVALID_STATE", "input.business")),
    ({"item": "TEA"}, ("CONFLICT", "input.item")),
]


async def test_an_invalid_field_of_an_offer_is_named(scene: OfferScene) -> None:
    world = scene.world
    await world.community("club", None, scene.mark)
    closed = await world.community("closed", None, scene.mark, collective_type=CollectiveType.BUSINESS)
    closed.archived_at = now()
    await world.add(closed)
    await scene.offer("tea")
    good: dict[str, Any] = {"business": ref(scene.cafe), "item": "Cake", "currentsSharePercent": 50}
    for changes, problem in BAD:
        assert await problem_of(scene, "createOffer", **(good | changes)) == problem, changes


async def test_an_item_has_one_active_offer(scene: OfferScene) -> None:
    world = scene.world
    arguments: dict[str, Any] = {"business": ref(scene.cafe), "item": "Tea", "currentsSharePercent": 5}
    payloads = await asyncio.gather(
        *(world.mutate("createOffer", FIELDS, by=scene.mark, **arguments) for _ in range(4))
    )
    assert Counter(error_code(answer) for answer in payloads) == {None: 1, "CONFLICT": 3}
    first = next(answer["offer"]["id"] for answer in payloads if answer["offer"])
    other = await scene.offer("Cake")
    assert await problem_of(scene, "updateOffer", id=other, item="tEa") == ("CONFLICT", "input.item")
    await world.mutate("deactivateOffer", by=scene.mark, id=first)
    assert await scene.offer("tea") != first


async def test_only_given_fields_of_an_offer_change(scene: OfferScene) -> None:
    offer = await scene.offer(monthlyLimit=2, description="Cold")
    payload = await scene.world.mutate("updateOffer", FIELDS, by=scene.ann, id=offer, currentsSharePercent=50)
    assert payload["offer"] | {"id": ""} == {
        "id": "",
        "item": "Kombucha",
        "description": "Cold",
        "currentsSharePercent": 50,
        "monthlyLimit": 2,
        "remainingThisMonth": 2,
        "isMaster": False,
        "isActive": True,
        "isFeatured": False,
        "redemptionCount": 0,
        "business": {"slug": "cafe"},
    }
    payload = await scene.world.mutate(
        "updateOffer", FIELDS, by=scene.ann, id=offer, item="Jun", description=None, monthlyLimit=None
    )
    assert [payload["offer"][f] for f in ("item", "description", "monthlyLimit", "remainingThisMonth")] == [
        "Jun",
        None,
        None,
        None,
    ]
    for bad, field in (({"item": None}, "item"), ({"currentsSharePercent": None}, "currentsSharePercent")):
        assert await problem_of(scene, "updateOffer", id=offer, **bad) == ("INVALID_INPUT", f"input.{field}")


async def test_a_deactivated_offer_cannot_change(scene: OfferScene) -> None:
    offer = await scene.offer()
    ended = await scene.world.mutate("deactivateOffer", FIELDS, by=scene.mark, id=offer)
    assert ended["offer"]["isActive"] is False
    for mutation in ("deactivateOffer", "updateOffer"):
        assert await problem_of(scene, mutation, id=offer) == ("INVALID_STATE", "input.id")
    admin = scene.world.admin
    assert await problem_of(scene, "featureOffer", by=admin, id=offer, isFeatured=True) == (
        "INVALID_STATE",
        "input.id",
    )


async def test_permissions_to_create_change_end_and_feature_offers(scene: OfferScene) -> None:
    world, stranger = scene.world, await scene.world.person("stranger")
    offer, ended = await scene.offer(), await scene.offer("Ended")
    await world.mutate("deactivateOffer", by=scene.mark, id=ended)
    waiter = await world.person("waiter")
    await world.member(scene.cafe, waiter, MemberRole.MEMBER)
    new = {"business": ref(scene.cafe), "item": "Cake", "currentsSharePercent": 5}
    results: dict[str, dict[str, Any]] = {
        "createOffer": new,
        "updateOffer": {"id": offer, "item": "x"},
        "deactivateOffer": {"id": offer},
        "featureOffer": {"id": offer, "isFeatured": True},
    }
    for mutation, arguments in results.items():
        assert await denied(scene, mutation, None, **arguments) == "UNAUTHENTICATED"
        for person in (stranger, waiter, scene.john):
            assert await denied(scene, mutation, person, **arguments) == "FORBIDDEN"
        if "id" in arguments:
            assert await denied(scene, mutation, stranger, **(arguments | {"id": ended})) == "NOT_FOUND"
            unknown = public_id("Offer", unused_id())
            assert await denied(scene, mutation, stranger, **(arguments | {"id": unknown})) == "NOT_FOUND"
    assert await denied(scene, "featureOffer", scene.mark, id=offer, isFeatured=True) == "FORBIDDEN"
    assert await denied(scene, "updateOffer", world.admin, id=offer, item="x") == "FORBIDDEN"
    done_by_admin = await world.mutate("deactivateOffer", FIELDS, by=world.admin, id=offer)
    assert done_by_admin["offer"]["isActive"] is False


async def test_offers_are_filtered_by_their_properties(scene: OfferScene) -> None:
    world, ann = scene.world, scene.ann
    bakery = await world.community("bakery", None, ann, collective_type=CollectiveType.BUSINESS)
    closed = await world.community("closed", None, ann, collective_type=CollectiveType.BUSINESS)
    tea, old = await scene.offer("Tea"), await scene.offer("Old")
    await scene.offer("Everything", isMaster=True)
    for business in (bakery, closed):
        await world.mutate("createOffer", by=ann, business=ref(business), item="Cake", currentsSharePercent=5)
    closed.archived_at = now()
    await world.add(closed)
    await world.mutate("deactivateOffer", by=scene.mark, id=old)
    await world.mutate("featureOffer", by=world.admin, id=tea, isFeatured=True)
    assert await listed(world) == ["Cake", "Everything", "Tea"]
    assert await listed(world, o="CREATED_AT_ASC") == ["Tea", "Everything", "Cake"]
    assert await listed(world, o="FEATURED_FIRST") == ["Tea", "Cake", "Everything"]
    assert await listed(world, f={"business": ref(bakery)}) == ["Cake"]
    assert await listed(world, f={"isMaster": True}) == ["Everything"]
    assert await listed(world, f={"isFeatured": True}) == ["Tea"]
    assert await listed(world, f={"isFeatured": False}) == ["Cake", "Everything"]
    assert await listed(world, f={"search": "CAK"}) == ["Cake"]
    assert await listed(world, f={"search": "baker"}) == ["Cake"]  # the business's name
    assert await listed(world, f={"search": "cafe"}) == ["Everything", "Tea"]
    assert await listed(world, f={"search": "%"}) == []
    for viewer, seen in ((None, []), (scene.john, []), (scene.mark, ["Old"]), (world.admin, ["Old"])):
        assert await listed(world, by=viewer, f={"isActive": False}) == seen
    assert await listed(world, by=scene.mark, f={"isActive": None}) == ["Cake", "Everything", "Old", "Tea"]


@pytest.mark.parametrize("order", ["CREATED_AT_DESC", "CREATED_AT_ASC", "FEATURED_FIRST"])
async def test_pages_have_no_gaps(scene: OfferScene, order: str) -> None:
    world = scene.world
    offers = [await scene.offer(f"Item {i}") for i in range(7)]
    for offer in offers[1::3]:
        await world.mutate("featureOffer", by=world.admin, id=offer, isFeatured=True)
    whole = [o["item"] for o in (await world.query(LIST, o=order))["offers"]["nodes"]]
    seen: list[str] = []
    after = None
    while True:
        page = (await world.query(LIST, o=order, n=2, a=after))["offers"]
        seen += [offer["item"] for offer in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == whole
    backward = LIST.replace("first: $n, after: $a", "last: $n, before: $a")
    end = (await world.query(backward, o=order, n=5))["offers"]
    assert [offer["item"] for offer in end["nodes"]] == whole[2:]
    assert sorted(whole) == [f"Item {i}" for i in range(7)]
    if order == "FEATURED_FIRST":
        assert whole == [f"Item {i}" for i in (4, 1, 6, 5, 3, 2, 0)]


async def test_a_deactivated_offer_is_visible_to_its_business_and_viewers_of_its_orders(
    scene: OfferScene,
) -> None:
    world, offer = scene.world, await scene.offer()
    order_id = expect_order(await scene.redeem(offer))
    await world.mutate("deactivateOffer", by=scene.mark, id=offer)
    node = "query($i: ID!) { node(id: $i) { ... on Offer { item isActive } } }"
    results = {"item": "Kombucha", "isActive": False}
    for viewer, seen in ((None, None), (scene.john, None), (scene.ann, results), (world.admin, results)):
        assert (await world.query(node, by=viewer, i=offer))["node"] == seen
    order = "query($i: ID!) { order(id: $i) { offer { item isActive } } }"
    assert (await world.query(order, by=scene.john, i=order_id))["order"]["offer"] == results


async def test_a_business_shows_its_offers(scene: OfferScene) -> None:
    world = scene.world
    old = await scene.offer("Old")
    for item in ("Tea", "Cake"):
        await scene.offer(item)
    await world.mutate("deactivateOffer", by=scene.mark, id=old)
    query = """query($a: Boolean) { collective(slug: "cafe") { ... on Business {
        offers(first: 2, isActive: $a) { nodes { item } totalCount pageInfo { hasNextPage } } } } }"""
    offers = (await world.query(query, a=True))["collective"]["offers"]
    assert [o["item"] for o in offers["nodes"]] == ["Cake", "Tea"]
    assert (offers["totalCount"], offers["pageInfo"]) == (2, {"hasNextPage": False})
    end = (await world.query(query.replace("first: 2", "last: 1"), a=True))["collective"]["offers"]
    assert [o["item"] for o in end["nodes"]] == ["Tea"]
    offers = (await world.query(query, by=scene.mark, a=None))["collective"]["offers"]
    assert (offers["totalCount"], offers["pageInfo"]) == (3, {"hasNextPage": True})


async def test_a_list_of_20_offers_takes_as_many_statements_as_one_of_2(
    scene: OfferScene, engine: AsyncEngine
) -> None:
    world = scene.world
    for number in range(20):
        shop = await world.community(
            f"shop-{number}", None, scene.mark, collective_type=CollectiveType.BUSINESS
        )
        await world.mutate(
            "createOffer",
            by=scene.mark,
            business=ref(shop),
            item="Tea",
            currentsSharePercent=5,
            monthlyLimit=3,
        )
    businesses = """query($n: Int!) { collectives(first: $n, filter: {type: [BUSINESS]}) { nodes {
        slug ... on Business { offers(first: 3) { nodes { item redemptionCount } } } } } }"""
    for query in (FULL, businesses):
        taken = []
        for first in (2, 20):
            with record_statements(engine) as statements:
                await world.query(query, n=first)
            taken.append(len(without_control(statements)))
        assert taken == [1, 1]


async def test_a_list_of_9_redemptions_takes_as_many_statements_as_one_of_2(
    scene: OfferScene, engine: AsyncEngine
) -> None:
    for number in range(9):
        expect_order(await scene.redeem(await scene.offer(f"Item {number}")))
    query = """query($n: Int!) { orders(first: $n) { nodes { offer { item } price { value } payout { value }
        payoutFee { value } caps place receiptText from { slug } to { slug } } } }"""
    await scene.world.query(query, by=scene.mark, n=1)  # the viewer is known from now on
    taken = []
    for first in (2, 9):
        with record_statements(engine) as statements:
            await scene.world.query(query, by=scene.mark, n=first)
        taken.append(len(without_control(statements)))
    assert taken == [1, 1]


async def test_redeeming_approving_and_paying_have_a_fixed_number_of_statements(
    scene: OfferScene, engine: AsyncEngine
) -> None:
    offer = await scene.offer()

    async def of(mutation: str, by: Person, **arguments: Any) -> tuple[int, str]:
        with record_statements(engine) as statements:
            payload = await scene.world.mutate(
                mutation, "order { id }", by=by, idempotencyKey=mutation, **arguments
            )
        # The driver alone begins and commits, with the first statements and with the last.
        assert (statements.count("BEGIN"), statements.count("COMMIT")) == (0, 0)
        return len(without_control(statements)), expect_order(payload)

    price = {"value": "20.00", "currency": "USD"}
    redeemed, order_id = await of("redeemOffer", scene.john, offer=offer, price=price, receipt="x")
    approved, _ = await of("approveOrder", scene.mark, id=order_id)
    paid, _ = await of("payOrder", scene.world.admin, id=order_id)
    assert (redeemed, approved, paid) == (11, 9, 7)  # one asks whether the actor may decide


async def test_no_offer_is_ever_deleted(scene: OfferScene) -> None:
    await scene.offer()
    async with scene.world.sessions() as session:
        with pytest.raises(Exception, match="permission denied"):
            await session.execute(text("DELETE FROM offer"))
