"""Live events of incognito gifts: the giver's are for those who may know the giver."""

import pytest

from tests.donation_world import expect_status
from tests.factories import World, ref
from tests.incognito_world import IncognitoScene
from tests.subscription_client import POSITION, ApiServer, connect_client

POSTED = """subscription($c: CollectiveRef!, $after: String) {
    transactionPosted(collective: $c, after: $after) {
    transaction { amount { value } fromCollective { slug } order { from { slug } } } } }"""
CHANGED = """subscription($id: ID!, $after: String) { orderChanged(id: $id, after: $after) {
    order { status from { slug } actions { actor { slug } } } } }"""


@pytest.fixture
async def incognito(world: World) -> IncognitoScene:
    """Return a person with a balance, and viewers."""
    return await IncognitoScene.create(world)


@pytest.mark.parametrize("viewer", ["payee_admin", "anonymous", "giver", "platform_admin"])
async def test_events_of_the_giver(api: ApiServer, incognito: IncognitoScene, viewer: str) -> None:
    person = incognito.viewers[viewer]
    token = person.token if person else None
    after = (await incognito.world.query(POSITION))["livePosition"]
    async with connect_client(api, token) as of_giver, connect_client(api, token) as of_payee:
        await of_giver.subscribe(POSTED, c=ref(incognito.giver), after=after)
        await of_payee.subscribe(POSTED, c=ref(incognito.donations.babel), after=after)
        await incognito.give("1.00")
        slug = ref(incognito.giver) if viewer in {"giver", "platform_admin"} else None
        told = {"amount": {"value": "1.00"}, "fromCollective": slug, "order": {"from": slug}}
        assert (await of_payee.next())["transactionPosted"]["transaction"] == told
        if slug is not None:
            assert (await of_giver.next())["transactionPosted"]["transaction"] == told
        assert await of_giver.is_silent()


async def test_events_of_an_order(api: ApiServer, incognito: IncognitoScene) -> None:
    donations, world = incognito.donations, incognito.world
    order = await incognito.give("1.00", payWith={"type": "MANUAL"})
    after = (await world.query(POSITION))["livePosition"]
    async with connect_client(api, donations.friend.token) as client:
        await client.subscribe(CHANGED, id=order, after=after)
        assert expect_status(await donations.approve(order, by=donations.holder)) == "PAID"
        seen = (await client.next())["orderChanged"]["order"]
        assert (seen["status"], seen["from"]) == ("PAID", None)
        assert seen["actions"][0]["actor"] is None
