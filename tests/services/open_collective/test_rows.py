"""What the rows of an Open Collective ledger become."""

from datetime import timedelta
from pathlib import Path

from sqlmodel import col

from models import (
    Collective,
    Member,
    OrderAction,
)
from models.enums import (
    MemberRole,
    OrderStatus,
    OrderType,
)
from tests.open_collective_files import (
    START,
    Sessions,
    after_each_row,
    balances,
    contents,
    every,
    file,
    gift,
    host_fee,
    line,
    orders,
    organization,
    refused,
    run,
    transactions,
)


async def test_a_contribution_before_2021_has_its_fees_in_the_row(hosted: Sessions, tmp_path: Path) -> None:
    report = await run(hosted, file(tmp_path, [gift(fee="-0.59", net="8.41")]))

    (order,), (transaction,) = await orders(hosted), await transactions(hosted)
    assert (order.type, order.status, order.amount) == (OrderType.DONATION, OrderStatus.PAID, 1000)
    assert order.import_key == "open-collective:webpack:group2"
    assert order.created_by_id is None
    assert order.created_at == order.updated_at == transaction.at == START + timedelta(days=2)
    assert transaction.created_at > transaction.at
    figures = (
        transaction.gross,
        transaction.payment_processor_fee,
        transaction.host_fee,
        transaction.platform_fee,
        transaction.to_host_amount,
        transaction.to_collective_amount,
    )
    assert figures == (1000, 59, 100, 0, 941, 841)
    assert await balances(hosted) == {
        ("opensource", "CASH"): -941,
        ("opensource", "BALANCE"): 100,
        ("webpack", "BALANCE"): 841,
    }
    actions = await every(hosted, OrderAction, col(OrderAction.id))
    assert [(a.type, a.to_status, a.at) for a in actions] == [
        ("CREATE", "PENDING", transaction.at),
        ("PAY", "PAID", transaction.at),
    ]
    assert (report.orders, report.transactions, report.counterparts) == (1, 1, 1)


async def test_the_collective_and_its_counterparts_are_made(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(), gift(), line("EXPENSE", "-5", oppositeAccountSlug="payee")]))

    found = {row.slug: row for row in await every(hosted, Collective)}
    host, own, giver = found["opensource"], found["webpack"], found["giver"]
    assert (own.type, own.host_id, own.currency, own.name) == (
        "COMMUNITY",
        host.id,
        "USD",
        "Webpack",
    )
    assert own.host_approved_at is not None
    assert (giver.type, giver.host_id, giver.claimed_at) == ("USER", None, None)
    assert giver.settings == {"importedFrom": "open-collective:webpack:giver"}
    members = {(m.collective_id, m.member_id, m.role): m.since for m in await every(hosted, Member)}
    assert set(members) == {
        (own.id, host.id, MemberRole.HOST),
        (own.id, giver.id, MemberRole.BACKER),
    }
    assert members[own.id, giver.id, MemberRole.BACKER] == START + timedelta(days=2)


async def test_a_host_fee_is_a_transaction_of_the_same_order(hosted: Sessions, tmp_path: Path) -> None:
    together = {"shortGroup": "one"}
    await run(hosted, file(tmp_path, [gift(fee="-0.5", **together), host_fee(**together)]))

    gave, fee = await transactions(hosted)
    assert len(await orders(hosted)) == 1
    assert (gave.order_id, gave.group_id) == (fee.order_id, fee.group_id)
    assert (fee.kind, fee.amount, fee.host_fee, fee.from_collective_amount) == (
        "HOST_FEE",
        100,
        0,
        -100,
    )
    assert fee.from_host_id == fee.to_host_id == fee.to_collective_id
    assert await after_each_row(hosted, "webpack") == [950, 850]
    assert (await balances(hosted))["opensource", "BALANCE"] == 100


async def test_a_host_fee_may_stand_before_its_contribution_and_be_a_second_older(
    hosted: Sessions, tmp_path: Path
) -> None:
    rows = [
        gift(),
        host_fee(shortGroup="one", datetime="2020-02-01T10:00:00"),
        gift(shortGroup="one", datetime="2020-02-01T10:00:01"),
        gift(shortGroup="two", datetime="2020-02-01T10:00:09"),
        host_fee(shortGroup="two", datetime="2020-02-01T10:00:08"),
    ]
    path = file(tmp_path, rows)
    await run(hosted, path)
    assert await after_each_row(hosted, "webpack") == [1000, 900, 1900, 2900, 2800]
    assert [order.type for order in await orders(hosted)] == ["DONATION"] * 3
    at = [transaction.at.second for transaction in await transactions(hosted)]
    assert at == [0, 0, 1, 8, 9]
    await balances(hosted)


async def test_rows_of_one_moment_keep_the_order_of_the_file(hosted: Sessions, tmp_path: Path) -> None:
    rows = [gift(str(n), datetime="2020-02-01T10:00:00") for n in range(1, 30)]
    await run(hosted, file(tmp_path, rows))
    assert [t.amount for t in await transactions(hosted)] == [100 * n for n in range(1, 30)]


async def test_the_payer_bears_the_fee_of_an_expense(hosted: Sessions, tmp_path: Path) -> None:
    payee = {"oppositeAccountSlug": "payee", "payoutMethodType": "PAYPAL"}
    await run(hosted, file(tmp_path, [gift("100"), line("EXPENSE", "-50", fee="-0.25", **payee)]))

    order, transaction = (await orders(hosted))[1], (await transactions(hosted))[1]
    assert (order.type, order.payout_method_kind, order.fees_payer) == (
        "EXPENSE",
        "PAYPAL",
        "PAYER",
    )
    figures = (
        transaction.amount,
        transaction.gross,
        transaction.payment_processor_fee,
        transaction.to_collective_amount,
        transaction.from_collective_amount,
    )
    assert figures == (5000, 5025, 25, 5000, -5025)
    assert transaction.to_host_id is None
    assert await after_each_row(hosted, "webpack") == [10_000, 4975]
    assert (await balances(hosted))["opensource", "CASH"] == -4975


async def test_money_goes_both_ways_for_each_kind_that_has_two(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        line("ADDED_FUNDS", "100"),
        line("ADDED_FUNDS", "7", oppositeAccountSlug="webpack"),
        line("EXPENSE", "5", fee="-1"),
        line("BALANCE_TRANSFER", "20", oppositeAccountSlug="sister"),
        line("BALANCE_TRANSFER", "-30", oppositeAccountSlug="opensource"),
        line("BALANCE_TRANSFER", "10", oppositeAccountSlug="opensource"),
        line("BALANCE_TRANSFER", "-1", oppositeAccountSlug="sister"),
        line("CONTRIBUTION", "-2", oppositeAccountSlug="other"),
        line("CONTRIBUTION", "3", oppositeAccountSlug="opensource"),
        line("ADDED_FUNDS", "-4", oppositeAccountSlug="project"),
        line("EXPENSE", "-6", oppositeAccountSlug="opensource"),
    ]
    await run(hosted, file(tmp_path, rows))

    assert [order.type for order in await orders(hosted)] == [
        "ADDED_FUNDS",
        "ADDED_FUNDS",
        "EXPENSE",
        "TRANSFER",
        "TRANSFER",
        "TRANSFER",
        "TRANSFER",
        "DONATION",
        "DONATION",
        "ADDED_FUNDS",
        "EXPENSE",
    ]
    assert [order.origin_unknown for order in await orders(hosted)].index(True) == 1
    assert await after_each_row(hosted, "webpack") == [
        10_000,
        10_700,
        11_100,
        13_100,
        10_100,
        11_100,
        11_000,
        10_800,
        11_100,
        10_700,
        10_100,
    ]
    # Only a transfer with the host moves money between two balances.
    assert await balances(hosted) == {
        ("webpack", "BALANCE"): 10_100,
        ("opensource", "BALANCE"): 2000,
        ("opensource", "CASH"): -12_100,
    }


async def test_a_processor_fee_of_its_own_is_a_bill_of_the_processor(
    hosted: Sessions, tmp_path: Path
) -> None:
    fee = line("PAYMENT_PROCESSOR_FEE", "-0.59", oppositeAccountSlug="stripe", shortGroup="one")
    await run(hosted, file(tmp_path, [gift(shortGroup="one"), fee, host_fee(shortGroup="one")]))

    gave, billed, kept = await transactions(hosted)
    assert [t.kind for t in (gave, billed, kept)] == ["DONATION", "EXPENSE", "HOST_FEE"]
    assert gave.group_id == billed.group_id == kept.group_id
    assert gave.order_id == kept.order_id != billed.order_id
    assert {order.import_key for order in await orders(hosted)} == {
        "open-collective:webpack:one",
        "open-collective:webpack:one:id3",
    }
    assert await after_each_row(hosted, "webpack") == [1000, 941, 841]
    assert (await balances(hosted))["opensource", "CASH"] == -941


async def test_two_contributions_of_one_group_have_an_order_each(hosted: Sessions, tmp_path: Path) -> None:
    group = {"shortGroup": "one"}
    rows = [gift(**group), host_fee(**group), gift("20", **group), host_fee("-2", **group)]
    path = file(tmp_path, [*rows, host_fee("-3", **group)])
    await run(hosted, path)
    before = await contents(hosted)
    await run(hosted, path)
    assert await contents(hosted) == before

    made = {order.import_key: order for order in await orders(hosted)}
    key = "open-collective:webpack:one"
    assert set(made) == {key, f"{key}:id4", f"{key}:id6"}
    assert made[f"{key}:id6"].type == "TRANSFER"
    of = {order.id: order.import_key for order in made.values()}
    assert [t.order_id and of[t.order_id] for t in await transactions(hosted)] == [
        key,
        key,
        f"{key}:id4",
        f"{key}:id4",
        f"{key}:id6",
    ]


async def test_yen_have_no_decimal_places(sessions: Sessions, tmp_path: Path) -> None:
    async with sessions() as session:
        await organization(session, "platform", is_platform=True)
        await organization(session, "opensource", "JPY")
        await session.commit()
    report = await run(sessions, file(tmp_path, [gift("1500", fee="-54", net="1296")], currency="JPY"))
    assert (report.balance.minor_units, report.balance.currency) == (1296, "JPY")
    (transaction,) = await transactions(sessions)
    assert (transaction.amount, transaction.host_fee) == (1500, 150)
    message = await refused(sessions, file(tmp_path, [gift("15.5")], currency="JPY"), collective_slug="other")
    assert message == "Line 2, amount: '15.5': JPY has 0 decimal places"


async def test_fees_may_leave_nothing(hosted: Sessions, tmp_path: Path) -> None:
    await run(hosted, file(tmp_path, [gift(fee="-0.59", net="0"), gift()]))
    assert await after_each_row(hosted, "webpack") == [1000]
    assert (await balances(hosted))["opensource", "BALANCE"] == 941
