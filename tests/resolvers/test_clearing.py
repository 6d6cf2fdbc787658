"""Clearing between hosts: limits, settlements, who may do and see what, and many at once."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from models import Collective
from models.enums import MemberRole
from tests.factories import Person, World, error_codes, money, ref
from tests.statement_counts import record_statements, without_control

CLEARING = """query($host: CollectiveRef!) { clearing(host: $host) {
    counterpart { slug } owed { value currency } owes { value } limit { value } counterpartLimit { value }
    oldestUnsettledAt } }"""
LEGS = """order { status settlement { reference covers paid { value currency } } transactions { kind
    amount { value currency } fromHostAmount { value currency } toHostAmount { value }
    postings { account { book { slug } owner { slug } kind } amount { value currency } } } }"""


@dataclass
class Hosts:
    """Two hosts with a community each: `debt` hosts the payer, `cred` the payee."""

    world: World
    debt: Collective
    cred: Collective
    payer: Collective
    payee: Collective
    debtor: Person
    creditor: Person
    giver: Person

    async def give(self, value: str, currency: str = "USD") -> dict[str, Any]:
        """Transfer from the payer to the payee, between the books."""
        return await self.world.mutate(
            "transferFunds",
            "order { id }",
            by=self.giver,
            **{"from": ref(self.payer)},
            to=ref(self.payee),
            amount=money(value, currency),
        )

    async def limit(self, value: str, currency: str = "USD", *, by: Person | None = None) -> dict[str, Any]:
        """Set what the debtor may owe the creditor."""
        return await self.world.mutate(
            "setClearingLimit",
            "clearing { limit { value currency } owed { value } }",
            by=by or self.creditor,
            host=ref(self.cred),
            counterpart=ref(self.debt),
            amount=money(value, currency),
        )

    async def settle(self, value: str, currency: str = "USD", **arguments: Any) -> dict[str, Any]:
        """Settle as the debtor."""
        given: dict[str, Any] = {"by": self.debtor, "reference": "BANK-1"} | arguments
        sides: dict[str, Any] = {"from": ref(self.debt), "to": ref(self.cred)}
        return await self.world.mutate(
            "settleHosts", "order { id status }", amount=money(value, currency), **sides, **given
        )

    async def settled(self, value: str, currency: str = "USD", **arguments: Any) -> str:
        """Settle, and return the order's id."""
        payload = await self.settle(value, currency, **arguments)
        assert payload["errors"] == [], payload
        return str(payload["order"]["id"])

    async def approve(self, order_id: str, fields: str = "", **arguments: Any) -> dict[str, Any]:
        """Approve as the creditor."""
        given: dict[str, Any] = {"by": self.creditor} | arguments
        return await self.world.mutate("approveOrder", fields, id=order_id, **given)

    async def owed(self) -> str:
        """Return what the debtor owes the creditor, as the creditor reads it."""
        rows = (await self.world.query(CLEARING, by=self.creditor, host=ref(self.cred)))["clearing"]
        values = [
            row["owed"]["value"]
            for row in rows
            if row["counterpart"]["slug"] == self.debt.slug and row["owed"]["currency"] == self.cred.currency
        ]
        return str(values[0]) if values else "0"


async def create_hosts(world: World, *, currency: str = "USD", limit: str = "100.00") -> Hosts:
    """Create the hosts; the creditor's currency may be another than dollars."""
    debtor, creditor, giver = [await world.person(name) for name in ("debtor", "creditor", "giver")]
    debt = await world.host("debt", debtor)
    cred = await world.host("cred", creditor, currency=currency)
    payer = await world.community("payer", debt, giver)
    payee = await world.community("payee", cred, currency=currency)
    await world.fund(payer, "1000.00", by=debtor)
    hosts = Hosts(world, debt, cred, payer, payee, debtor, creditor, giver)
    assert (await hosts.limit(limit, currency))["errors"] == []
    return hosts


@pytest.fixture
async def hosts(world: World) -> Hosts:
    return await create_hosts(world)


async def test_a_settlement_moves_both_banks_and_the_debt(hosts: Hosts) -> None:
    world = hosts.world
    assert (await hosts.give("60.00"))["errors"] == []
    assert await hosts.owed() == "60.00"
    payload = await hosts.settle("40.00")
    assert payload["errors"] == []
    assert payload["order"]["status"] == "PENDING"
    assert await hosts.owed() == "60.00"
    approved = await hosts.approve(payload["order"]["id"], LEGS)
    assert approved["errors"] == []
    order = approved["order"]
    assert order["status"] == "PAID"
    assert order["settlement"] == {
        "reference": "BANK-1",
        "covers": "CLEARING",
        "paid": {"value": "40.00", "currency": "USD"},
    }
    (transaction,) = order["transactions"]
    assert transaction["kind"] == "SETTLEMENT"
    assert transaction["fromHostAmount"] == {"value": "-40.00", "currency": "USD"}
    assert legs_of(transaction) == {
        ("debt", "cred", "CLEARING", "USD", "-40.00"),
        ("debt", "debt", "CASH", "USD", "40.00"),
        ("cred", "debt", "CLEARING", "USD", "40.00"),
        ("cred", "cred", "CASH", "USD", "-40.00"),
    }
    assert await hosts.owed() == "20.00"
    await world.assert_clean_ledger()


def legs_of(transaction: dict[str, Any]) -> set[tuple[str, ...]]:
    """Return (book, owner, kind, currency, value) of each posting."""
    return {
        (
            line["account"]["book"]["slug"],
            line["account"]["owner"]["slug"],
            line["account"]["kind"],
            line["amount"]["currency"],
            line["amount"]["value"],
        )
        for line in transaction["postings"]
    }


async def test_across_currencies_the_debtor_says_what_its_bank_paid(world: World) -> None:
    await world.rate("EUR", "USD", "1.1")
    hosts = await create_hosts(world, currency="EUR")
    assert (await hosts.give("50.00", "EUR"))["errors"] == []
    assert error_codes(await hosts.settle("50.00", "EUR")) == [("INVALID_INPUT", ["input", "paid"])]
    order_id = await hosts.settled("50.00", "EUR", paid=money("56.31"))
    (transaction,) = (await hosts.approve(order_id, LEGS))["order"]["transactions"]
    assert legs_of(transaction) == {
        ("debt", "cred", "CLEARING", "EUR", "-50.00"),
        ("debt", "debt", "EXCHANGE", "EUR", "50.00"),
        ("debt", "debt", "EXCHANGE", "USD", "-56.31"),
        ("debt", "debt", "CASH", "USD", "56.31"),
        ("cred", "debt", "CLEARING", "EUR", "50.00"),
        ("cred", "cred", "CASH", "EUR", "-50.00"),
    }
    assert await hosts.owed() == "0.00"
    await world.assert_clean_ledger()


async def test_platform_fees_are_settled_with_the_platform(world: World) -> None:
    await world.platform_fee(500)
    hosts = await create_hosts(world)
    arguments = {
        "reference": "FEES",
        "from": ref(hosts.debt),
        "to": ref(world.platform),
        "covers": "PLATFORM_FEES",
    }
    await world.expect_problem(
        "settleHosts",
        "INVALID_INPUT",
        ["input", "amount"],
        by=hosts.debtor,
        amount=money("50.01"),
        **arguments,
    )
    payload = await world.mutate(
        "settleHosts", "order { id }", by=hosts.debtor, amount=money("50.00"), **arguments
    )
    assert payload["errors"] == []
    approved = await hosts.approve(payload["order"]["id"], LEGS, by=world.admin)
    (transaction,) = approved["order"]["transactions"]
    assert transaction["kind"] == "PLATFORM_FEE_SETTLEMENT"
    slug = world.platform.slug
    assert legs_of(transaction) == {
        ("debt", slug, "BALANCE", "USD", "-50.00"),
        ("debt", "debt", "CASH", "USD", "50.00"),
        (slug, slug, "BALANCE", "USD", "50.00"),
        (slug, slug, "CASH", "USD", "-50.00"),
    }
    await world.assert_clean_ledger()


async def test_two_settlements_of_one_debt_at_once_settle_it_once(hosts: Hosts) -> None:
    await hosts.give("60.00")
    ids = [await hosts.settled("60.00", reference=f"BANK-{i}") for i in range(2)]
    payloads = await asyncio.gather(*(hosts.approve(order_id) for order_id in ids))
    codes = Counter(code for payload in payloads for code, _ in error_codes(payload))
    assert codes == {"INVALID_INPUT": 1}
    assert await hosts.owed() == "0.00"
    await hosts.world.assert_clean_ledger()


@pytest.mark.parametrize("may_owe", ["0.00", "1000.00"])
async def test_the_database_alone_refuses_more_than_is_owed(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, may_owe: str
) -> None:
    limited = await hosts.world.mutate(
        "setClearingLimit",
        by=hosts.debtor,
        host=ref(hosts.debt),
        counterpart=ref(hosts.cred),
        amount=money(may_owe),
    )
    assert limited["errors"] == []
    await hosts.give("60.00")

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr("services.orders.settlements._require_owed", nothing)
    order_id = await hosts.settled("60.01")
    before = await hosts.world.fingerprint()
    payload = await hosts.approve(order_id)
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "amount"])]
    assert await hosts.world.fingerprint() == before


async def test_donations_racing_for_the_rest_of_a_limit_stop_at_it(hosts: Hosts) -> None:
    await hosts.give("65.00")
    payloads = await asyncio.gather(*(hosts.give("10.00") for _ in range(20)))
    codes = Counter(code for payload in payloads for code, _ in error_codes(payload))
    assert codes == {"LIMIT_EXCEEDED": 17}
    assert await hosts.owed() == "95.00"
    await hosts.world.assert_clean_ledger()


async def test_a_limit_lowered_below_what_is_owed_lets_that_stand_and_nothing_more(hosts: Hosts) -> None:
    await hosts.give("60.00")
    lowered = await hosts.limit("10.00")
    assert lowered["clearing"] == {"limit": {"value": "10.00", "currency": "USD"}, "owed": {"value": "60.00"}}
    assert [code for code, _ in error_codes(await hosts.give("0.01"))] == ["LIMIT_EXCEEDED"]
    await hosts.approve(await hosts.settled("55.00"))
    assert await hosts.owed() == "5.00"
    assert (await hosts.give("5.00"))["errors"] == []
    assert [code for code, _ in error_codes(await hosts.give("0.01"))] == ["LIMIT_EXCEEDED"]
    assert (await hosts.limit("0.00"))["errors"] == []
    await hosts.world.assert_clean_ledger()


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"amount": money("60.01")}, "INVALID_INPUT", ["input", "amount"]),
        ({"amount": money("10.00", "EUR")}, "INVALID_INPUT", ["input", "amount", "currency"]),
        ({"paid": money("9.00")}, "INVALID_INPUT", ["input", "paid"]),
        ({"reference": " "}, "INVALID_INPUT", ["input", "reference"]),
        ({"covers": "PLATFORM_FEES"}, "INVALID_INPUT", ["input", "covers"]),
        ({"to": {"slug": "payee"}}, "INVALID_STATE", ["input", "to"]),
        ({"to": {"slug": "debt"}}, "INVALID_INPUT", ["input", "to"]),
        ({"to": {"slug": "nobody"}}, "NOT_FOUND", ["input", "to"]),
    ],
)
async def test_a_wrong_settlement_is_refused(
    hosts: Hosts, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    await hosts.give("60.00")
    good = {"from": ref(hosts.debt), "to": ref(hosts.cred), "amount": money("10.00"), "reference": "B"}
    await hosts.world.expect_problem("settleHosts", code, path, by=hosts.debtor, **(good | changes))


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"counterpart": {"slug": "cred"}}, "INVALID_INPUT", ["input", "counterpart"]),
        ({"counterpart": {"slug": "payer"}}, "INVALID_STATE", ["input", "counterpart"]),
        ({"amount": money("5.00", "EUR")}, "INVALID_INPUT", ["input", "amount", "currency"]),
        ({"amount": money("-5.00")}, "INVALID_INPUT", ["input", "amount", "value"]),
    ],
)
async def test_a_wrong_limit_is_refused(
    hosts: Hosts, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    good = {"host": ref(hosts.cred), "counterpart": ref(hosts.debt), "amount": money("5.00")}
    await hosts.world.expect_problem("setClearingLimit", code, path, by=hosts.creditor, **(good | changes))


async def test_only_the_creditor_sets_the_limit_and_confirms_and_only_the_debtor_settles(
    hosts: Hosts,
) -> None:
    world = hosts.world
    await hosts.give("60.00")
    order_id = await hosts.settled("10.00")
    before = await world.fingerprint()
    limit = {"host": ref(hosts.cred), "counterpart": ref(hosts.debt), "amount": money("5.00")}
    settle = {"from": ref(hosts.debt), "to": ref(hosts.cred), "amount": money("1.00"), "reference": "x"}
    denied = (
        ("setClearingLimit", hosts.debtor, limit, "FORBIDDEN"),
        ("setClearingLimit", world.admin, limit, "FORBIDDEN"),
        ("settleHosts", hosts.creditor, settle, "FORBIDDEN"),
        ("approveOrder", hosts.debtor, {"id": order_id}, "FORBIDDEN"),
        ("approveOrder", world.admin, {"id": order_id}, "FORBIDDEN"),
        ("rejectOrder", hosts.debtor, {"id": order_id, "reason": "x"}, "FORBIDDEN"),
        ("cancelOrder", hosts.creditor, {"id": order_id}, "FORBIDDEN"),
    )
    for mutation, viewer, arguments, code in denied:
        name = mutation[0].upper() + mutation[1:]
        query = f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}"
        body = await world.execute(query, by=viewer, i=arguments)
        assert body["errors"][0]["extensions"]["code"] == code, mutation
    assert error_codes(await world.mutate("approveOrder", by=hosts.giver, id=order_id)) == [
        ("NOT_FOUND", ["input", "id"])
    ]
    assert error_codes(await world.mutate("payOrder", by=hosts.creditor, id=order_id)) == [
        ("INVALID_STATE", ["input", "id"])
    ]
    assert error_codes(await hosts.approve(order_id, amount=money("9.00"), reason="less came")) == [
        ("INVALID_INPUT", ["input", "amount"])
    ]
    assert await world.fingerprint() == before


async def test_an_admin_of_both_hosts_does_not_confirm_while_the_creditor_has_another(hosts: Hosts) -> None:
    await hosts.world.member(hosts.cred, hosts.debtor, MemberRole.ADMIN)
    await hosts.give("60.00")
    order_id = await hosts.settled("10.00")
    assert error_codes(await hosts.approve(order_id, by=hosts.debtor)) == [("SELF_APPROVAL", ["input", "id"])]
    assert (await hosts.approve(order_id))["errors"] == []


async def test_a_rejected_or_cancelled_settlement_changes_no_debt(hosts: Hosts) -> None:
    await hosts.give("60.00")
    rejected, cancelled = await hosts.settled("10.00"), await hosts.settled("10.00", reference="B2")
    payload = await hosts.world.mutate(
        "rejectOrder", "order { status }", by=hosts.creditor, id=rejected, reason="nothing came"
    )
    assert payload["order"]["status"] == "REJECTED"
    payload = await hosts.world.mutate("cancelOrder", "order { status }", by=hosts.debtor, id=cancelled)
    assert payload["order"]["status"] == "CANCELLED"
    assert await hosts.owed() == "60.00"
    assert error_codes(await hosts.approve(rejected)) == [("INVALID_STATE", ["input", "id"])]


async def test_a_key_settles_once_and_a_dry_run_stores_nothing(hosts: Hosts) -> None:
    await hosts.give("60.00")
    before = await hosts.world.fingerprint()
    assert (await hosts.settle("10.00", dryRun=True))["errors"] == []
    assert await hosts.world.fingerprint() == before
    first = await hosts.settled("10.00", idempotencyKey="k")
    after = await hosts.world.fingerprint()
    assert await hosts.settled("10.00", idempotencyKey="k") == first
    assert await hosts.world.fingerprint() == after
    assert error_codes(await hosts.settle("11.00", idempotencyKey="k"))[0][0] == "IDEMPOTENCY_CONFLICT"


async def test_both_hosts_and_the_platform_see_a_settlement_and_nobody_else(hosts: Hosts) -> None:
    await hosts.give("60.00")
    order_id = await hosts.settled("10.00")
    await hosts.approve(order_id)
    query = "query($id: ID!) { order(id: $id) { settlement { reference } transactions { id } } }"
    for viewer in (hosts.debtor, hosts.creditor, hosts.world.admin):
        order = (await hosts.world.query(query, by=viewer, id=order_id))["order"]
        assert order["settlement"] == {"reference": "BANK-1"}
        assert len(order["transactions"]) == 1
    for stranger in (None, hosts.giver):
        assert (await hosts.world.query(query, by=stranger, id=order_id))["order"] is None


async def test_each_side_is_told_by_mail(hosts: Hosts) -> None:
    await hosts.give("60.00")
    await hosts.approve(await hosts.settled("10.00"))
    statement = (
        "SELECT string_agg(template || ' ' || (payload->>'reference'), ',' ORDER BY template) FROM outbox"
        " WHERE template LIKE 'settlement%'"
    )
    assert await hosts.world.scalar(statement) == "settlement_expected BANK-1,settlement_received BANK-1"


async def test_clearing_is_listed_for_the_readers_of_a_host_in_one_statement(
    hosts: Hosts, engine: Any
) -> None:
    world = hosts.world
    await hosts.give("60.00")
    accountant = await world.person("accountant")
    await world.member(hosts.debt, accountant, MemberRole.ACCOUNTANT)
    for viewer in (hosts.debtor, accountant, world.admin):
        rows = (await world.query(CLEARING, by=viewer, host=ref(hosts.debt)))["clearing"]
        (row,) = [row for row in rows if row["counterpart"]["slug"] == "cred"]
        assert row.pop("oldestUnsettledAt") is not None
        assert row == {
            "counterpart": {"slug": "cred"},
            "owed": {"value": "0.00", "currency": "USD"},
            "owes": {"value": "60.00"},
            "limit": {"value": "10000000000000.00"},
            "counterpartLimit": {"value": "100.00"},
        }
    others = ((None, "UNAUTHENTICATED"), (hosts.creditor, "FORBIDDEN"), (hosts.giver, "FORBIDDEN"))
    for other, code in others:
        body = await world.execute(CLEARING, by=other, host=ref(hosts.debt))
        assert body["errors"][0]["extensions"]["code"] == code
    with record_statements(engine) as statements:
        await world.query(CLEARING, by=hosts.debtor, host=ref(hosts.debt))
    assert len(without_control(statements)) == 1


async def test_the_oldest_debts_are_settled_first_and_the_report_shows_their_age(hosts: Hosts) -> None:
    world = hosts.world
    for value in ("10.00", "20.00", "30.00", "40.00"):
        assert (await hosts.give(value))["errors"] == []
    await hosts.approve(await hosts.settled("15.00"))
    await age_debts(world, hosts, days=(100, 70, 40, 0, 0))
    query = """{ liabilityReport { clearing { debtor { slug } creditor { slug } amount { value }
        days0To30 { value } days31To60 { value } days61To90 { value } older { value } } } }"""
    (debt,) = (await world.query(query, by=world.admin))["liabilityReport"]["clearing"]
    assert debt == {
        "debtor": {"slug": "debt"},
        "creditor": {"slug": "cred"},
        "amount": {"value": "85.00"},
        "days0To30": {"value": "40.00"},
        "days31To60": {"value": "30.00"},
        "days61To90": {"value": "15.00"},
        "older": {"value": "0.00"},
    }


async def age_debts(world: World, hosts: Hosts, *, days: tuple[int, ...]) -> None:
    """Move the postings of the creditor's clearing account into the past, as the owner without triggers."""
    statement = (
        "UPDATE posting p SET at = p.at - make_interval(days => (%(days)s::int[])[p.seq])"
        " FROM ledger_account a WHERE a.book_id = p.book_id AND a.id = p.account_id"
        " AND a.book_id = %(book)s AND a.owner_id = %(owner)s AND a.kind = 'CLEARING'"
    )
    with psycopg.connect(str(world.settings.owner_database_url)) as connection:
        connection.execute("ALTER TABLE posting DISABLE TRIGGER USER")
        connection.execute(statement, {"days": list(days), "book": hosts.cred.id, "owner": hosts.debt.id})


async def test_money_reaches_a_suspended_creditor_by_settlement_alone(hosts: Hosts) -> None:
    await hosts.give("60.00")
    order_id = await hosts.settled("60.00")
    suspended = await hosts.world.mutate(
        "suspendHost", by=hosts.world.admin, host=ref(hosts.cred), reason="a check"
    )
    assert suspended["errors"] == []
    assert error_codes(await hosts.give("1.00"))[0][0] == "INVALID_STATE"
    assert (await hosts.approve(order_id))["errors"] == []
    assert await hosts.owed() == "0.00"


async def test_small_amounts_between_hosts_arrive_whole_and_come_back_whole(world: World) -> None:
    debtor, giver = await world.person("debtor"), await world.person("giver")
    for base, rate in (("KRW", "1400"), ("JPY", "160")):
        await world.rate("USD", base, rate)
    hosts = [await world.host(slug, debtor) for slug in ("debt", "cred")]
    for code, value, times, expected in (("KRW", "8", 6, 48), ("JPY", "1", 5, 5)):
        here, there = [
            await world.community(f"{code.lower()}-{host.slug}", host, giver, currency=code) for host in hosts
        ]
        await world.fund(here, "96", by=debtor)
        for _ in range(times):
            sides: dict[str, Any] = {"from": ref(here), "to": ref(there)}
            payload = await world.mutate("transferFunds", by=giver, amount=money(value, code), **sides)
            assert payload["errors"] == []
        assert await world.balance(here) == (96 - expected, 0)
        assert await world.balance(there) == (expected, 0)
        sides = {"from": ref(there), "to": ref(here)}
        payload = await world.mutate("transferFunds", by=giver, amount=money(str(expected), code), **sides)
        assert payload["errors"] == []
        assert await world.balance(here) == (96, 0)
        assert await world.balance(there) == (0, 0)
    await world.assert_clean_ledger()
