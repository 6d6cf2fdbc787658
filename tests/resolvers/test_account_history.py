"""Postings and statements of ledger accounts: what they add up to, and who sees them."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import MemberRole
from services.core import public_ids
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World

FIGURES = (
    "openingBalance { minorUnits } closingBalance { minorUnits } credits { minorUnits } debits { minorUnits }"
)
HISTORY = f"""query($account: ID!, $first: Int, $after: String, $last: Int,
    $before: String, $from: DateTime, $until: DateTime) {{
    node(id: $account) {{ ... on LedgerAccount {{
        id balance {{ minorUnits }} owner {{ slug }}
        statement(from: $from, until: $until) {{ {FIGURES} postingCount }}
        postings(first: $first, after: $after, last: $last, before: $before, from: $from, until: $until) {{
            totalCount pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
            nodes {{ seq at amount {{ minorUnits }} transaction {{ id kind }} account {{ id }} }}
        }}
    }} }}
}}"""
ACCOUNTS = """query($slug: String!) { collective(slug: $slug) { transactions(first: 100) { nodes {
    postings { account { id kind owner { slug } } } } } } }"""


async def account_of(world: World, slug: str, *, by: Person, kind: str = "BALANCE") -> str:
    """Return the id of a collective's account."""
    data = await world.query(ACCOUNTS, by=by, slug=slug)
    for transaction in data["collective"]["transactions"]["nodes"]:
        for posting in transaction["postings"]:
            account = posting["account"]
            if (account["kind"], account["owner"]["slug"]) == (kind, slug):
                return str(account["id"])
    raise AssertionError(slug)


async def history(world: World, account: str, *, by: Person | None, **arguments: Any) -> dict[str, Any]:
    """Read an account with its statement and a page of its postings."""
    node: dict[str, Any] = (await world.query(HISTORY, by=by, account=account, **arguments))["node"]
    return node


def amounts(node: dict[str, Any]) -> list[int]:
    """Return the amounts of the postings of a page."""
    return [int(posting["amount"]["minorUnits"]) for posting in node["postings"]["nodes"]]


def figures(node: dict[str, Any]) -> list[int]:
    """Return opening and closing balance, credits and debits of a statement."""
    statement = node["statement"]
    names = ("openingBalance", "closingBalance", "credits", "debits")
    return [int(statement[name]["minorUnits"]) for name in names]


@pytest.fixture
async def scene(world: World) -> DonationScene:
    """Fund webpack with 100.00; then it gives 1.00, 2.00 and 3.00 away."""
    scene = await DonationScene.create(world)
    for value in ("1.00", "2.00", "3.00"):
        expect_order(await scene.transfer(value))
    return scene


async def test_postings_are_read_in_pages_by_seq(world: World, scene: DonationScene) -> None:
    account = await account_of(world, "webpack", by=scene.giver)
    first = await history(world, account, by=scene.giver, first=2)
    page = first["postings"]
    assert amounts(first) == [10_000, -100]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (4, True)
    second = await history(world, account, by=scene.giver, first=2, after=page["pageInfo"]["endCursor"])
    assert amounts(second) == [-200, -300]
    assert second["postings"]["pageInfo"]["hasNextPage"] is False
    assert [p["transaction"]["kind"] for p in second["postings"]["nodes"]] == ["TRANSFER"] * 2
    assert {p["account"]["id"] for p in second["postings"]["nodes"]} == {account}
    end = await history(world, account, by=scene.giver, last=1)
    start = await history(
        world, account, by=scene.giver, last=3, before=end["postings"]["pageInfo"]["startCursor"]
    )
    assert amounts(start) + amounts(end) == [10_000, -100, -200, -300]
    pages = [node["postings"]["pageInfo"] for node in (start, end)]
    assert [(p["hasPreviousPage"], p["hasNextPage"]) for p in pages] == [(False, True), (True, False)]


async def test_a_statement_is_exact_at_its_bounds(world: World, scene: DonationScene) -> None:
    account = await account_of(world, "webpack", by=scene.giver)
    whole = await history(world, account, by=scene.giver)
    at = [posting["at"] for posting in whole["postings"]["nodes"]]

    async def between(**bounds: str) -> tuple[list[int], list[int], str]:
        node = await history(world, account, by=scene.giver, **bounds)
        count = node["statement"]["postingCount"]
        assert node["postings"]["totalCount"] == int(count)
        return figures(node), amounts(node), count

    assert figures(whole) == [0, 9_400, 10_000, -600]
    # `from` is inclusive, `until` is exclusive: bounds at the very time of a posting.
    assert await between(**{"from": at[1], "until": at[3]}) == ([10_000, 9_700, 0, -300], [-100, -200], "2")
    assert await between(**{"from": at[3]}) == ([9_700, 9_400, 0, -300], [-300], "1")
    assert await between(until=at[1]) == ([0, 10_000, 10_000, 0], [10_000], "1")
    assert await between(until=at[0]) == ([0, 0, 0, 0], [], "0")
    assert await between(**{"from": "2099-01-01T00:00:00Z"}) == ([9_400, 9_400, 0, 0], [], "0")


async def test_a_period_that_ends_before_it_starts_is_refused(world: World, scene: DonationScene) -> None:
    account = await account_of(world, "webpack", by=scene.giver)
    bounds = {"from": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    body = await world.execute(HISTORY, by=scene.giver, account=account, **bounds)
    assert {error["extensions"]["code"] for error in body["errors"]} == {"INVALID_INPUT"}
    for cursor in (
        "nonsense",
        "WyJzZXEiLCI1IiwiMDAiXQ==",
        "WyJzZXEiLDk5OTk5OTk5OTk5OTk5OTk5OTk5OSwiMDAiXQ==",
    ):
        body = await world.execute(HISTORY, by=scene.giver, account=account, after=cursor)
        assert {error["extensions"]["code"] for error in body["errors"]} == {"INVALID_INPUT"}


async def test_who_sees_the_history_of_an_account(world: World, scene: DonationScene) -> None:
    account = await account_of(world, "webpack", by=scene.giver)
    host_accountant = await world.person("host-accountant")
    own_accountant, member = await world.person("own-accountant"), await world.person("member")
    await world.member(scene.host, host_accountant, MemberRole.ACCOUNTANT)
    await world.member(scene.webpack, own_accountant, MemberRole.ACCOUNTANT)
    await world.member(scene.webpack, member, MemberRole.MEMBER)

    for person in (scene.giver, scene.holder, host_accountant, own_accountant, world.admin):
        node = await history(world, account, by=person)
        assert (len(amounts(node)), node["postings"]["totalCount"]) == (4, 4)
        assert figures(node) == [0, 9_400, 10_000, -600]
    for other in (scene.friend, member, None):
        node = await history(world, account, by=other)
        assert node["balance"]["minorUnits"] == "9400"
        assert (amounts(node), node["postings"]["totalCount"], node["statement"]) == ([], 0, None)


async def test_a_persons_account_is_hidden_from_others(world: World, scene: DonationScene) -> None:
    expect_order(await scene.transfer("1.00", to=scene.payee.user))
    account = await account_of(world, "xdamman", by=scene.payee)
    for person in (scene.payee, world.admin):
        assert amounts(await history(world, account, by=person)) == [100]
    for other in (scene.friend, scene.giver, None):
        assert await history(world, account, by=other) is None


async def test_every_account_of_the_books_adds_up(world: World, scene: DonationScene) -> None:
    card = await scene.method(bps=290)
    donor = await world.community("donor", await world.host("elsewhere", scene.holder), scene.giver)
    await world.fund(donor, "10.00", by=scene.holder)
    donated = await scene.donate("2.00", from_=donor, paymentMethod=card)
    if not donated["errors"]:
        await scene.refund(donated["order"]["id"], "1.00")
    numbers = [row async for row in _account_ids(world)]
    assert len(numbers) >= 5
    for account in numbers:
        node = await history(world, account, by=world.admin, first=100)
        opening, closing, credited, debited = figures(node)
        assert opening + sum(amounts(node)) == closing == int(node["balance"]["minorUnits"])
        assert credited + debited == closing - opening


async def _account_ids(world: World) -> AsyncIterator[str]:
    async with world.sessions() as session:
        for number in (await session.execute(text("SELECT id FROM ledger_account ORDER BY 1"))).scalars():
            yield public_ids.encode("LedgerAccount", UUID(int=number))
