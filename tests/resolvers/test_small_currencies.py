"""Currencies of 0, 2 and 3 decimal places in books in dollars: on every path, what is sent arrives."""

from dataclasses import dataclass
from typing import Any

import pytest

from models import Collective
from models.enums import CollectiveType
from tests.donation_world import expect_order
from tests.factories import Person, World, error_codes, money, ref

RATES = {"KRW": "1400", "JPY": "160", "IDR": "16000", "KWD": "0.307"}
SMALL = [("KRW", "8", 8), ("JPY", "1", 1), ("IDR", "85.00", 85_00), ("KWD", "0.007", 7)]
"""Code, value and minor units of amounts of less than a few cents."""


@dataclass
class Books:
    """Two hosts in dollars, each with a collective in another currency."""

    world: World
    holder: Person
    giver: Person
    hosts: tuple[Collective, Collective]
    here: Collective
    there: Collective

    async def run(self, mutation: str, fields: str = "order { id status }", **arguments: Any) -> str:
        """Run a mutation as the giver by default; return the order's id."""
        by: Person = arguments.pop("by", self.giver)
        return expect_order(await self.world.mutate(mutation, fields, by=by, **arguments))

    async def move(self, value: str, *, back: bool = False) -> str:
        """Transfer between the two collectives."""
        sides = (self.there, self.here) if back else (self.here, self.there)
        arguments: dict[str, Any] = {"from": ref(sides[0]), "to": ref(sides[1])}
        return await self.run("transferFunds", amount=money(value, self.here.currency), **arguments)

    async def balances(self) -> tuple[int, int]:
        """Return both balances in minor units."""
        return (await self.world.balance(self.here))[0], (await self.world.balance(self.there))[0]


def paid_by(who: Collective | Person) -> dict[str, Any]:
    """Return the argument `from`, which is a keyword of Python."""
    return {"from": ref(who)}


async def create_books(world: World, code: str) -> Books:
    """Create the hosts and collectives, and publish the rate of their currency."""
    await world.rate("USD", code, RATES[code])
    holder, giver = await world.person("holder"), await world.person("giver")
    hosts = await world.host("first", holder), await world.host("second", holder)
    here = await world.community("here", hosts[0], giver, currency=code)
    there = await world.community("there", hosts[1], giver, currency=code)
    return Books(world, holder, giver, hosts, here, there)


@pytest.mark.parametrize(("code", "value", "minor"), SMALL)
async def test_there_and_back_five_times(world: World, code: str, value: str, minor: int) -> None:
    books = await create_books(world, code)
    await world.fund(books.here, {"IDR": "9600.00", "KWD": "0.096"}.get(code, "96"), by=books.holder)
    whole, nothing = await books.balances()
    for _ in range(5):
        await books.move(value)
        assert await books.balances() == (whole - minor, nothing + minor)
        await books.move(value, back=True)
        assert await books.balances() == (whole, nothing)
    await world.assert_clean_ledger()


@pytest.mark.parametrize(("code", "value", "minor"), SMALL)
async def test_added_funds_and_donations_arrive_whole(
    world: World, code: str, value: str, minor: int
) -> None:
    books = await create_books(world, code)
    await world.fund(books.here, value, by=books.holder)
    assert await world.balance(books.here) == (minor, 0)
    order_id = await books.run(
        "donate",
        **paid_by(books.giver),
        to=ref(books.here),
        amount=money(value, code),
        paymentMethod="MANUAL",
    )
    await books.run("approveOrder", by=books.holder, id=order_id)
    assert await world.balance(books.here) == (2 * minor, 0)
    await world.assert_clean_ledger()


async def test_added_funds_less_two_fees_of_36_cents(world: World) -> None:
    await world.platform_fee(500)
    books = await create_books(world, "KRW")
    fields = """order { id transactions { toCollectiveAmount { value }
        hostFeeInHostCurrency { value currency } platformFeeInHostCurrency { value } } }"""
    payload = await world.mutate(
        "addFunds",
        fields,
        by=books.holder,
        to=ref(books.here),
        amount=money("10000", "KRW"),
        hostFeeBps=500,
    )
    (transaction,) = payload["order"]["transactions"]
    assert transaction == {
        "toCollectiveAmount": {"value": "8992"},
        "hostFeeInHostCurrency": {"value": "0.36", "currency": "USD"},
        "platformFeeInHostCurrency": {"value": "0.36"},
    }
    assert await world.balance(books.here) == (8_992, 0)
    await world.assert_clean_ledger()


@pytest.mark.parametrize(("code", "value", "minor"), SMALL)
async def test_an_expense_takes_what_the_payee_gets(world: World, code: str, value: str, minor: int) -> None:
    """Into the balance of a user, in another book, and to outside."""
    books = await create_books(world, code)
    payee = await world.person("payee", currency=code)
    await world.fund(books.here, value, by=books.holder)
    await world.fund(books.here, value, by=books.holder)
    for method, left in (("BALANCE", minor), ("MANUAL", 0)):
        order_id = await books.run(
            "submitExpense",
            by=payee,
            **paid_by(books.here),
            to=ref(payee),
            amount=money(value, code),
            payoutMethod=method,
            description="Bill",
        )
        await books.run("approveOrder", id=order_id)
        if method == "MANUAL":
            await books.run("payOrder", by=books.holder, id=order_id)
        assert await world.balance(books.here) == (left, 0)
        assert await world.balance(payee.user) == (minor, 0)
    await world.assert_clean_ledger()


@pytest.mark.parametrize("code", ["KRW", "IDR", "KWD"])
async def test_parts_of_a_refund_add_up_to_the_whole(world: World, code: str) -> None:
    books = await create_books(world, code)
    value, part = {"KRW": ("10007", "3333"), "IDR": ("10000.07", "3333.33"), "KWD": ("1.007", "0.333")}[code]
    await world.fund(books.here, value, by=books.holder)
    whole = (await world.balance(books.here))[0]
    order_id = await books.run(
        "donate",
        **paid_by(books.here),
        to=ref(books.there),
        amount=money(value, code),
        paymentMethod="BALANCE",
    )
    assert await books.balances() == (0, whole)
    for amount in (part, part, None):
        arguments: dict[str, Any] = {"amount": money(amount, code)} if amount else {}
        await books.run("refundOrder", by=books.holder, id=order_id, **arguments)
        assert sum(await books.balances()) == whole
    assert await books.balances() == (whole, 0)
    owed = "SELECT count(*) FROM ledger_account WHERE kind IN ('CLEARING', 'EXCHANGE') AND posted <> 0"
    exchange = await world.scalar(owed + " AND book_id <> :first", first=books.hosts[0].id)
    assert exchange == 0, "the payee's host is where it was before"
    await world.assert_clean_ledger()


async def test_a_merge_moves_balances_of_every_currency_without_converting(world: World) -> None:
    ada, twin = await world.person("ada"), await world.person("twin")
    holder = await world.person("holder")
    host = await world.host("first", holder)
    for code, value, _ in SMALL:
        await world.rate("USD", code, RATES[code])
        club = await world.community(f"club-{code.lower()}", host, holder, currency=code)
        await world.fund(club, value, by=holder)
        order_id = expect_order(
            await world.mutate(
                "submitExpense",
                "order { id status }",
                by=twin,
                **paid_by(club),
                to=ref(twin),
                amount=money(value, code),
                payoutMethod="BALANCE",
                description="Bill",
            )
        )
        expect_order(await world.mutate("approveOrder", "order { id status }", by=holder, id=order_id))
    await world.consent_to_merge(twin, ada)
    arguments: dict[str, Any] = {"from": ref(twin), "into": ref(ada)}
    assert (await world.mutate("mergeUsers", by=world.admin, **arguments))["errors"] == []
    total = "SELECT sum(posted) FROM ledger_account WHERE owner_id = :owner AND currency = :code"
    for code, _, minor in SMALL:
        assert await world.scalar(total, owner=ada.user.id, code=code) == minor
        assert await world.scalar(total, owner=twin.user.id, code=code) == 0
    await world.assert_clean_ledger()


async def test_an_account_that_is_no_approved_host_adds_no_funds_to_itself(world: World) -> None:
    eve = await world.person("eve")
    own = await world.community("own", None, eve, collective_type=CollectiveType.NONPROFIT)
    before = await world.fingerprint()
    for to in (own, world.platform):
        body = await world.execute(
            "mutation($i: AddFundsInput!) { addFunds(input: $i) { order { id } errors { code } } }",
            by=eve,
            i={"to": ref(to), "amount": money("250000.00"), "from": ref(own)},
        )
        assert [error["extensions"]["code"] for error in body["errors"]] == ["FORBIDDEN"]
    assert await world.fingerprint() == before


async def test_what_is_too_small_for_the_hosts_currency_changes_nothing(world: World) -> None:
    books = await create_books(world, "IDR")
    await world.fund(books.here, "9600.00", by=books.holder)
    before = await world.fingerprint()
    payload = await world.mutate(
        "transferFunds",
        by=books.giver,
        **paid_by(books.here),
        to=ref(books.there),
        amount=money("79.99", "IDR"),
    )
    assert error_codes(payload) == [("AMOUNT_TOO_SMALL", ["input", "amount"])]
    assert await world.fingerprint() == before


async def test_nobody_gains_by_many_small_payments(world: World) -> None:
    """From dollars into won: each payment takes at least what it is worth, within half a cent."""
    books = await create_books(world, "KRW")
    dollars = await world.community("dollars", books.hosts[0], books.giver)
    await world.fund(dollars, "10.00", by=books.holder)
    for _ in range(6):
        await books.run("transferFunds", **paid_by(dollars), to=ref(books.there), amount=money("8", "KRW"))
    assert await world.balance(dollars) == (1_000 - 6, 0), "0.57 cents are a cent"
    assert await world.balance(books.there) == (48, 0)
    await world.assert_clean_ledger()
