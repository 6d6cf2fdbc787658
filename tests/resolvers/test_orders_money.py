"""Fees, refunds and currencies of orders, to the minor unit; balances now and then."""

from typing import Any

import pytest
from sqlalchemy import text

from models import Collective
from tests.donation_world import DonationScene, decode_order_id, error_code, expect_order, expect_status
from tests.factories import World, money, ref

BALANCE = """query($slug: String!, $at: DateTime) { collective(slug: $slug) { balances(asOf: $at) {
    currency posted { minorUnits } held { minorUnits } available { minorUnits }
    pending { minorUnits } } } }"""


@pytest.fixture
async def scene(shared: World) -> DonationScene:
    """Return a scene in which webpack has 100.00."""
    return await DonationScene.among_others(shared)


async def balance(scene: DonationScene, row: Any, *, at: str | None = None) -> tuple[int, ...]:
    """Return posted, held, available and pending in the collective's own currency."""
    data = await scene.world.query(BALANCE, by=scene.world.admin, slug=row.slug, at=at)
    first = data["collective"]["balances"][0]
    return tuple(int(first[name]["minorUnits"]) for name in ("posted", "held", "available", "pending"))


async def cash(world: World, host: Collective, currency: str = "USD") -> int:
    """Return what the host's bank holds."""
    held: int = await world.scalar(
        "SELECT coalesce(-sum(posted), 0)::bigint FROM ledger_account WHERE book_id = :id"
        " AND kind = 'CASH' AND currency = :currency",
        id=host.id,
        currency=currency,
    )
    return held


async def owed_by_hosts(world: World, host: Collective) -> int:
    """Return what other hosts owe the host, in dollars."""
    owed: int = await world.scalar(
        "SELECT coalesce(-sum(posted), 0)::bigint FROM ledger_account WHERE book_id = :id"
        " AND kind = 'CLEARING' AND currency = 'USD'",
        id=host.id,
    )
    return owed


async def far(scene: DonationScene, **arguments: Any) -> tuple[Collective, Collective]:
    """Create a second host with a fee of 5 %, and a collective there."""
    host = await scene.host_of("wwcode", fee_bps=500)
    return host, await scene.community("berlin", host, scene.holder, **arguments)


async def test_a_donation_is_refunded_in_parts_and_the_host_covers_the_processor_fee(
    world: World,
) -> None:
    scene = await DonationScene.create(world)
    host, berlin = await far(scene)
    await world.platform_fee(300)
    await world.fund(host, "10.31", by=scene.holder)  # 0.31 goes to the platform
    card = await scene.method(bps=290, fixed="0.30", host=host)
    order_id = expect_order(await scene.donate("33.33", to=berlin, paymentMethod=card))
    fees = {"processor": 97 + 30, "platform": 100, "host": 167}
    assert await world.balance(berlin) == (3333 - sum(fees.values()), 0)
    assert await cash(world, host) == 1031 - fees["processor"]
    assert await owed_by_hosts(world, host) == 3333

    parts = [await scene.refund(order_id, "11.11"), await scene.refund(order_id, "0.01")]
    assert [expect_status(part) for part in parts] == ["PAID", "PAID"]
    parts.append(await scene.refund(order_id))
    assert expect_status(parts[-1]) == "REFUNDED"

    refunds = [t["amount"]["minorUnits"] for p in parts for t in p["transactions"] if t["kind"] == "REFUND"]
    covers = [
        int(t["amount"]["minorUnits"])
        for p in parts
        for t in p["transactions"]
        if t["kind"] == "PAYMENT_PROCESSOR_COVER"
    ]
    assert refunds == ["-1111", "-1", "-2221"]
    assert sum(covers) == fees["processor"]
    assert await world.balance(scene.webpack) == (10_000, 0)
    assert await world.balance(berlin) == (0, 0)
    assert await world.balance(host) == (1000 - fees["processor"], 0)
    assert await cash(world, host) == 1031 - fees["processor"]
    assert error_code(await scene.refund(order_id)) == "INVALID_STATE"
    await world.assert_clean_ledger()


async def test_a_host_that_is_the_payee_covers_the_processor_fee_from_its_refund(
    scene: DonationScene,
) -> None:
    world = scene.world
    host, _ = await far(scene)
    card = await scene.method(bps=1000, host=host)
    await world.fund(host, "5.00", by=scene.holder)
    order_id = expect_order(await scene.donate("10.00", to=host, paymentMethod=card))
    assert await world.balance(host) == (500 + 900, 0)

    for value in ("3.33", None):
        refund = await scene.refund(order_id, value)
        assert [t["kind"] for t in refund["transactions"]] == ["REFUND"]

    assert await world.balance(host) == (500 - 100, 0)
    assert await cash(world, host) == 500 - 100
    assert await world.balance(scene.webpack) == (10_000, 0)
    await world.assert_clean_ledger()


async def test_spent_money_cannot_be_refunded(scene: DonationScene) -> None:
    order_id = expect_order(await scene.donate("10.00"))
    expect_order(await scene.transfer("5.00", by=scene.friend, from_=scene.babel, to=scene.webpack))
    before = await scene.world.fingerprint()

    assert error_code(await scene.refund(order_id)) == "INSUFFICIENT_FUNDS"
    assert await scene.world.fingerprint() == before
    assert expect_status(await scene.refund(order_id, "5.00")) == "PAID"


async def test_more_than_the_remaining_amount_cannot_be_refunded(scene: DonationScene) -> None:
    order_id = expect_order(await scene.transfer("10.00"))
    expect_order(await scene.refund(order_id, "6.00"))

    assert error_code(await scene.refund(order_id, "4.01")) == "INVALID_INPUT"
    assert expect_status(await scene.refund(order_id, "4.00")) == "REFUNDED"


@pytest.mark.parametrize("payer", ["PAYER", "PAYEE"])
async def test_the_orders_fees_payer_bears_the_payout_fee(scene: DonationScene, payer: str) -> None:
    world = scene.world
    await world.fund(scene.host, "1.00", by=scene.holder)
    order_id = await scene.expense("10.00", feesPayer=payer)
    expect_order(await scene.approve(order_id))
    expect_order(await scene.pay(order_id, processorFee=money("0.40")))

    spent, received = (1040, 1000) if payer == "PAYER" else (1000, 960)
    assert await world.balance(scene.webpack) == (10_000 - spent, 0)
    assert await cash(world, scene.host) == 10_100 - spent
    data = await world.query(
        "query($id: ID!) { order(id: $id) { transactions { toCollectiveAmount { minorUnits }"
        " fromCollectiveAmount { minorUnits } paymentProcessorFeeInHostCurrency { minorUnits } } } }",
        id=order_id,
    )
    assert data["order"]["transactions"] == [
        {
            "toCollectiveAmount": {"minorUnits": str(received)},
            "fromCollectiveAmount": {"minorUnits": str(-spent)},
            "paymentProcessorFeeInHostCurrency": {"minorUnits": "40"},
        }
    ]

    # The payee returns what it received; the bank keeps its fee, at the host's cost.
    assert expect_status(await scene.refund(order_id)) == "REFUNDED"
    assert await world.balance(scene.webpack) == (10_000, 0)
    assert await world.balance(scene.host) == (100 - 40, 0)
    assert await cash(world, scene.host) == 10_100 - 40
    await world.assert_clean_ledger()


@pytest.mark.parametrize("payer", ["PAYER", "PAYEE"])
async def test_a_host_gets_its_own_bill_back_without_the_banks_fee(scene: DonationScene, payer: str) -> None:
    """Cash held stays what the bank holds: the payee never had the fee."""
    world = scene.world
    await world.fund(scene.host, "50.00", by=scene.holder)
    order_id = await scene.expense("10.00", from_=scene.host, feesPayer=payer)
    expect_order(await scene.approve(order_id, by=scene.holder))
    expect_order(await scene.pay(order_id, processorFee=money("0.40")))

    expect_order(await scene.refund(order_id))

    assert await cash(world, scene.host) == 15_000 - 40
    assert await world.balance(scene.host) == (5000 - 40, 0)
    await world.assert_clean_ledger()


async def test_a_payout_fee_above_the_balance_is_insufficient_funds(scene: DonationScene) -> None:
    order_id = await scene.expense("100.00")
    expect_order(await scene.approve(order_id))
    before = await scene.world.fingerprint()

    assert error_code(await scene.pay(order_id, processorFee=money("0.01"))) == "INSUFFICIENT_FUNDS"
    assert await scene.world.fingerprint() == before
    expect_order(await scene.pay(order_id))


async def test_a_fee_above_the_amount_stores_nothing(scene: DonationScene) -> None:
    host, berlin = await far(scene)
    card = await scene.method(fixed="0.30", host=host)
    before = await scene.world.fingerprint()

    answer = await scene.donate("0.30", to=berlin, paymentMethod=card)

    assert error_code(answer) == "AMOUNT_TOO_SMALL"
    assert await scene.world.fingerprint() == before


@pytest.mark.parametrize(
    ("currency", "rate", "value", "minor", "spent"),
    [
        ("JPY", "0.0067", "1000", 1000, 670),
        ("JPY", "0.0067", "1", 1, 1),
        ("KWD", "3.2511", "1.234", 1234, 401),
        ("EUR", "1.1481", "10.00", 1000, 1148),
    ],
)
async def test_a_donation_into_another_currency(
    scene: DonationScene, currency: str, rate: str, value: str, minor: int, spent: int
) -> None:
    world = scene.world
    there = await scene.community("there", scene.host, scene.friend, currency=currency)
    await world.rate(currency, "USD", rate)

    order_id = expect_order(await scene.donate(value, to=there, currency=currency))

    assert await world.balance(scene.webpack) == (10_000 - spent, 0)
    # Inside one host the payee's own amount is what its host got, at the order's rate.
    posted, _ = await world.balance(there)
    assert abs(posted - minor) <= max(1, round(1 / float(rate)))
    await world.assert_clean_ledger()

    assert expect_status(await scene.refund(order_id)) == "REFUNDED"
    assert await world.balance(scene.webpack) == (10_000, 0)
    assert await world.balance(there) == (0, 0)
    await world.assert_clean_ledger()


@pytest.mark.parametrize(("currency", "value"), [("JPY", "0.5"), ("KWD", "0.0001"), ("USD", "0.001")])
async def test_more_decimals_than_the_currency_has_are_refused(
    scene: DonationScene, currency: str, value: str
) -> None:
    there = await scene.community("there", scene.host, currency=currency)

    answer = await scene.donate(value, to=there, currency=currency)

    assert error_code(answer) == "INVALID_INPUT"
    assert answer["errors"][0]["path"] == ["input", "amount", "value"]


async def test_an_expense_in_another_currency_is_held_at_one_rate_and_paid_at_another(
    scene: DonationScene,
) -> None:
    world = scene.world
    payee = await world.person("hans" + scene.suffix, currency="GBP")
    await world.rate("GBP", "USD", "1.10", days_ago=1)
    order_id = await scene.expense("10.00", by=payee, to=payee, currency="GBP")
    expect_order(await scene.approve(order_id))
    assert await world.balance(scene.webpack) == (10_000, 1100)

    await world.rate("GBP", "USD", "1.25")
    expect_order(await scene.pay(order_id, processorFee=money("0.50")))

    assert await world.balance(scene.webpack) == (10_000 - 1250 - 50, 0)
    await world.assert_clean_ledger()


async def test_without_a_fresh_rate_no_money_moves(scene: DonationScene) -> None:
    world = scene.world
    there = await scene.community("there", scene.host, currency="CHF")
    await world.rate("CHF", "USD", "1.10", days_ago=7.01)
    before = await world.fingerprint()

    assert error_code(await scene.donate("1.00", to=there, currency="CHF")) == "FX_RATE_UNAVAILABLE"
    assert await world.fingerprint() == before


@pytest.mark.parametrize("parts", [["0.001"], ["0.001", None], ["0.500", "0.500"]])
async def test_a_part_too_small_for_the_payers_currency_leaves_the_ledger_whole(
    scene: DonationScene, parts: list[str | None]
) -> None:
    """0.001 KWD is less than half a yen: a refund of it would move nothing."""
    world = scene.world
    tokyo = await scene.host_of("tokyo", currency="JPY")
    payee = await world.person("layla" + scene.suffix, currency="KWD")
    await world.fund(tokyo, "10000", by=scene.holder)
    await world.rate("KWD", "JPY", "490")
    order_id = await scene.expense("1.000", by=payee, from_=tokyo, to=payee, currency="KWD")
    expect_order(await scene.approve(order_id, by=scene.holder))
    expect_order(await scene.pay(order_id))

    codes = [error_code(await scene.refund(order_id, part, currency="KWD")) for part in parts]

    assert set(codes) <= {None, "AMOUNT_TOO_SMALL"}
    await world.assert_clean_ledger()
    if "0.001" not in parts or None in parts:
        assert await world.balance(tokyo) == (10_000, 0)


async def test_a_balance_is_posted_held_available_and_pending(scene: DonationScene) -> None:
    manual = expect_order(
        await scene.donate(
            "7.00", by=scene.payee, from_=scene.payee, to=scene.webpack, paymentMethod="MANUAL"
        )
    )
    held = await scene.expense("10.00")
    into = await scene.expense("3.00", payoutMethod="BALANCE")
    await scene.expense("2.00")
    expect_order(await scene.approve(held))

    assert await balance(scene, scene.webpack) == (10_000, 1000, 9000, 700)
    assert await balance(scene, scene.payee) == (0, 0, 0, 300)

    expect_order(await scene.approve(manual, by=scene.holder))
    expect_order(await scene.approve(into))
    assert await balance(scene, scene.webpack) == (10_400, 1000, 9400, 0)
    assert await balance(scene, scene.payee) == (300, 0, 300, 0)


async def test_a_past_balance_has_the_postings_and_holds_of_its_time(scene: DonationScene) -> None:
    world = scene.world
    moments = ["2020-01-01T00:00:00Z", await _now(world)]
    expect_order(await scene.donate("10.00"))
    moments.append(await _now(world))
    order_id = await scene.expense("20.00")
    expect_order(await scene.approve(order_id))
    moments.append(await _now(world))
    expect_order(await scene.pay(order_id))
    moments.append(await _now(world))
    expect_order(await scene.refund(order_id, "5.00"))

    payloads = [await balance(scene, scene.webpack, at=moment) for moment in moments]

    assert payloads == [
        (0, 0, 0, 0),
        (10_000, 0, 10_000, 0),
        (9000, 0, 9000, 0),
        (9000, 2000, 7000, 0),
        (7000, 0, 7000, 0),
    ]
    assert await balance(scene, scene.webpack) == (7500, 0, 7500, 0)
    # At the very moment of a posting it counts.
    last = await world.scalar("SELECT max(at)::text FROM posting")
    exact = last.replace(" ", "T").replace("+00", "Z")
    assert await balance(scene, scene.webpack, at=exact) == (7500, 0, 7500, 0)


async def _now(world: World) -> str:
    async with world.sessions() as session:
        moment = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return str(moment.isoformat())


async def test_an_expense_and_a_transfer_are_refunded(scene: DonationScene) -> None:
    expense = await scene.expense("10.00")
    expect_order(await scene.approve(expense))
    expect_order(await scene.pay(expense))
    transfer = expect_order(await scene.transfer("20.00"))

    assert expect_status(await scene.refund(expense, "4.00")) == "PAID"
    assert expect_status(await scene.refund(transfer, by=scene.friend)) == "REFUNDED"

    assert await scene.world.balance(scene.webpack) == (9400, 0)
    assert await scene.world.balance(scene.babel) == (0, 0)
    emitted = await scene.world.scalar(
        "SELECT count(*) FROM transaction WHERE order_id = :id AND refund_of_id IS NOT NULL",
        id=decode_order_id(transfer),
    )
    assert emitted == 1
    await scene.world.assert_clean_ledger()


async def test_each_part_of_a_refund_is_in_the_history(scene: DonationScene) -> None:
    order_id = expect_order(await scene.transfer("10.00"))
    expect_order(await scene.refund(order_id, "4.00", reason="half of it"))
    expect_order(await scene.refund(order_id))

    data = await scene.world.query(
        "query($id: ID!) { order(id: $id) { actions { type fromStatus toStatus reason"
        " amount { minorUnits } } transactions { kind refundOf { kind } refundedBy { kind } } } }",
        by=scene.holder,
        id=order_id,
    )

    assert [
        (a["type"], a["fromStatus"], a["toStatus"], a["amount"]["minorUnits"], a["reason"])
        for a in data["order"]["actions"][-2:]
    ] == [("REFUND", "PAID", "PAID", "400", "half of it"), ("REFUND", "PAID", "REFUNDED", "600", None)]
    assert data["order"]["transactions"] == [
        {"kind": "TRANSFER", "refundOf": None, "refundedBy": [{"kind": "REFUND"}] * 2},
        {"kind": "REFUND", "refundOf": {"kind": "TRANSFER"}, "refundedBy": []},
        {"kind": "REFUND", "refundOf": {"kind": "TRANSFER"}, "refundedBy": []},
    ]


async def test_a_donation_to_a_collective_without_a_host_is_refused(scene: DonationScene) -> None:
    loose = await scene.community("loose", None, scene.friend)

    assert error_code(await scene.donate("1.00", to=loose)) == "INVALID_STATE"
    assert error_code(await scene.donate("1.00", to=scene.webpack)) == "INVALID_INPUT"
    payload = await scene.world.mutate(
        "transferFunds",
        "order { id }",
        by=scene.friend,
        to=ref(scene.webpack),
        amount=money("1.00"),
        **{"from": ref(loose)},
    )
    assert error_code(payload) == "INVALID_STATE"
