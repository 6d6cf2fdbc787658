"""Lists with incognito gifts: what is found by the giver and at the payee, without gaps or a query a row."""

import pytest

from tests.donation_world import expect_order
from tests.factories import World, money, ref
from tests.incognito_world import KNOWING, OTHERS, IncognitoScene, begin, names
from tests.statement_counts import record_statements, without_control

OF_GIVER = """query($c: CollectiveRef!, $slug: String!) {
    orders(filter: {from: $c}) { totalCount nodes { id } }
    transactions(filter: {from: $c}) { totalCount nodes { id } }
    collective(slug: $slug) {
        orders { totalCount nodes { id } }
        transactions { totalCount nodes { id } }
        memberOf(role: [BACKER]) { totalCount nodes { collective { slug } } }
        ... on User { subscriptions(direction: GIVEN) { totalCount nodes { id } } }
    } }"""
OF_PAYEE = """query($c: CollectiveRef!, $slug: String!) {
    orders(filter: {to: $c}) { totalCount nodes { id from { slug } createdBy { slug } } }
    collective(slug: $slug) {
        orders { totalCount nodes { id from { slug } actions { actor { slug } } } }
        transactions { totalCount nodes { id fromCollective { slug } order { from { slug } } } }
        members(role: [BACKER]) { totalCount nodes { member { slug } } } } }"""


@pytest.fixture
async def scene(shared: World) -> IncognitoScene:
    """Return a person with a balance, and viewers."""
    return await IncognitoScene.create(shared)


@pytest.mark.parametrize("viewer", [*KNOWING, *OTHERS])
async def test_what_is_found_by_the_giver(scene: IncognitoScene, viewer: str) -> None:
    order = await scene.give(platformTip=money("1.00"))
    gift = await begin(scene)
    seen = await scene.see(OF_GIVER, viewer, c=ref(scene.giver), slug=scene.giver.slug)
    lists = [seen["orders"], seen["transactions"], seen["collective"]["orders"]]
    if viewer in KNOWING:
        assert order in [row["id"] for row in seen["orders"]["nodes"]]
        assert [each["totalCount"] for each in lists][:2] == [2, 3]
        assert len(seen["collective"]["transactions"]["nodes"]) >= 3
        assert [row["id"] for row in seen["collective"]["subscriptions"]["nodes"]] == [gift]
    else:
        assert [each["totalCount"] for each in lists][:2] == [0, 0]
        for name in ("orders", "transactions", "subscriptions"):
            assert seen["collective"][name] == {"totalCount": 0, "nodes": []}, name
    assert seen["collective"]["memberOf"]["totalCount"] == 0


@pytest.mark.parametrize("viewer", [*KNOWING, *OTHERS])
async def test_what_is_found_at_the_payee(scene: IncognitoScene, viewer: str) -> None:
    order = await scene.give()
    babel = scene.donations.babel
    seen = await scene.see(OF_PAYEE, viewer, c=ref(babel), slug=babel.slug)
    for page in (seen["orders"], seen["collective"]["orders"]):
        assert page["totalCount"] == 1
        assert [row["id"] for row in page["nodes"]] == [order]
    assert seen["collective"]["transactions"]["totalCount"] == 1
    assert seen["collective"]["members"]["totalCount"] == 0
    assert names(scene, seen) == (viewer in KNOWING)


@pytest.mark.parametrize("viewer", OTHERS)
async def test_pages_have_no_gaps(scene: IncognitoScene, viewer: str) -> None:
    """Of four gifts to babel two are incognito: those of the giver are two, on pages of one."""
    shown = []
    for is_incognito in (True, False, True, False):
        order = await scene.give(isIncognito=is_incognito)
        shown += [] if is_incognito else [order]
    query = """query($slug: String!, $after: String) { collective(slug: $slug) {
        orders(first: 1, after: $after) { totalCount nodes { id } pageInfo { hasNextPage endCursor } } } }"""
    found, after, is_more = [], None, True
    while is_more:
        seen = await scene.see(query, viewer, slug=scene.giver.slug, after=after)
        page = seen["collective"]["orders"]
        assert page["totalCount"] == 2
        found += [row["id"] for row in page["nodes"]]
        after, is_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert found == shown[::-1]


@pytest.mark.parametrize("viewer", ["stranger", "payee_admin", "host_admin"])
@pytest.mark.parametrize("compiled", [True, False])
async def test_a_page_of_four_givers_takes_as_many_statements_as_one_of_one(
    scene: IncognitoScene, viewer: str, compiled: bool
) -> None:
    donations, world = scene.donations, scene.world
    engine = world.sessions.kw["bind"]
    for number in range(4):
        person = await world.person(f"giver-{number}{donations.suffix}")
        await world.fund(person.user, "20.00", by=world.admin)
        expect_order(await donations.donate("5.00", by=person, from_=person, isIncognito=True))
    query = """query($slug: String!, $first: Int!) { collective(slug: $slug) { orders(first: $first) { nodes {
        from { slug } createdBy { slug } subscription { id } } } } }"""

    async def used(first: int) -> int:
        variables = {"slug": donations.babel.slug, "first": first}
        with record_statements(engine) as statements:
            body = await scene.answer(query, viewer, variables, compiled=compiled)
        nodes = body["data"]["collective"]["orders"]["nodes"]
        assert [node["from"] is not None for node in nodes] == [viewer == "host_admin"] * first
        return len(without_control(statements))

    await used(1)  # the viewer is known from now on
    assert await used(1) == await used(4)
