"""Orders and transactions imported from the rows of an Open Collective ledger."""

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
    create_organization,
    csv_row,
    digest_tables,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_all,
    load_balances,
    load_orders,
    load_transactions,
    running_balances,
    write_csv,
)


async def test_a_contribution_before_2021_has_its_fees_in_the_row(hosted: Sessions, tmp_path: Path) -> None:
    report = await import_csv(hosted, write_csv(tmp_path, [donation(fee="-0.59", net="8.41")]))

    (order,), (transaction,) = await load_orders(hosted), await load_transactions(hosted)
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
    assert await load_balances(hosted) == {
        ("opensource", "CASH"): -941,
        ("opensource", "BALANCE"): 100,
        ("webpack", "BALANCE"): 841,
    }
    actions = await load_all(hosted, OrderAction, col(OrderAction.id))
    assert [(a.type, a.to_status, a.at) for a in actions] == [
        ("CREATE", "PENDING", transaction.at),
        ("PAY", "PAID", transaction.at),
    ]
    assert (report.orders, report.transactions, report.counterparts) == (1, 1, 1)


async def test_the_collective_and_its_counterparts_are_created(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(
        hosted,
        write_csv(tmp_path, [donation(), donation(), csv_row("EXPENSE", "-5", oppositeAccountSlug="payee")]),
    )

    results = {row.slug: row for row in await load_all(hosted, Collective)}
    host, own, giver = results["opensource"], results["webpack"], results["giver"]
    assert (own.type, own.host_id, own.currency, own.name) == (
        "COMMUNITY",
        host.id,
        "USD",
        "Webpack",
    )
    assert own.host_approved_at is not None
    assert (giver.type, giver.host_id, giver.claimed_at) == ("USER", None, None)
    assert giver.settings == {"importedFrom": "open-collective:webpack:giver"}
    members = {(m.collective_id, m.member_id, m.role): m.since for m in await load_all(hosted, Member)}
    assert set(members) == {
        (host.id, host.id, MemberRole.HOST),
        (own.id, host.id, MemberRole.HOST),
        (own.id, giver.id, MemberRole.BACKER),
    }
    assert members[own.id, giver.id, MemberRole.BACKER] == START + timedelta(days=2)


async def test_a_host_fee_is_a_transaction_of_the_same_order(hosted: Sessions, tmp_path: Path) -> None:
    together = {"shortGroup": "one"}
    await import_csv(hosted, write_csv(tmp_path, [donation(fee="-0.5", **together), host_fee(**together)]))

    gave, fee = await load_transactions(hosted)
    assert len(await load_orders(hosted)) == 1
    assert (gave.order_id, gave.group_id) == (fee.order_id, fee.group_id)
    assert (fee.kind, fee.amount, fee.host_fee, fee.from_collective_amount) == (
        "HOST_FEE",
        100,
        0,
        -100,
    )
    assert fee.from_host_id == fee.to_host_id == fee.to_collective_id
    assert await running_balances(hosted, "webpack") == [950, 850]
    assert (await load_balances(hosted))["opensource", "BALANCE"] == 100


async def test_a_host_fee_may_precede_its_contribution_by_a_second(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        donation(),
        host_fee(shortGroup="one", datetime="2020-02-01T10:00:00"),
        donation(shortGroup="one", datetime="2020-02-01T10:00:01"),
        donation(shortGroup="two", datetime="2020-02-01T10:00:09"),
        host_fee(shortGroup="two", datetime="2020-02-01T10:00:08"),
    ]
    path = write_csv(tmp_path, rows)
    await import_csv(hosted, path)
    assert await running_balances(hosted, "webpack") == [1000, 2000, 1900, 2900, 2800]
    assert [order.type for order in await load_orders(hosted)] == ["DONATION"] * 3
    at = [transaction.at.second for transaction in await load_transactions(hosted)]
    assert at == [0, 1, 1, 9, 9]
    await load_balances(hosted)


async def test_rows_with_the_same_time_are_ordered_by_group(hosted: Sessions, tmp_path: Path) -> None:
    place = {"datetime": "2020-02-01T10:00:00"}
    rows = [donation(str(n), shortGroup=f"g{n:02}", **place) for n in reversed(range(1, 30))]
    await import_csv(hosted, write_csv(tmp_path, rows))
    assert [t.amount for t in await load_transactions(hosted)] == [100 * n for n in range(1, 30)]


async def test_the_payer_bears_the_fee_of_an_expense(hosted: Sessions, tmp_path: Path) -> None:
    payee = {"oppositeAccountSlug": "payee", "payoutMethodType": "PAYPAL"}
    await import_csv(
        hosted, write_csv(tmp_path, [donation("100"), csv_row("EXPENSE", "-50", fee="-0.25", **payee)])
    )

    order, transaction = (await load_orders(hosted))[1], (await load_transactions(hosted))[1]
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
    assert await running_balances(hosted, "webpack") == [10_000, 4975]
    assert (await load_balances(hosted))["opensource", "CASH"] == -4975


async def test_every_two_way_kind_is_imported_in_both_directions(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        csv_row("ADDED_FUNDS", "100"),
        csv_row("ADDED_FUNDS", "7", oppositeAccountSlug="webpack"),
        csv_row("EXPENSE", "5", fee="-1"),
        csv_row("BALANCE_TRANSFER", "20", oppositeAccountSlug="sister"),
        csv_row("BALANCE_TRANSFER", "-30", oppositeAccountSlug="opensource"),
        csv_row("BALANCE_TRANSFER", "10", oppositeAccountSlug="opensource"),
        csv_row("BALANCE_TRANSFER", "-1", oppositeAccountSlug="sister"),
        csv_row("CONTRIBUTION", "-2", oppositeAccountSlug="other"),
        csv_row("CONTRIBUTION", "3", oppositeAccountSlug="opensource"),
        csv_row("ADDED_FUNDS", "-4", oppositeAccountSlug="project"),
        csv_row("EXPENSE", "-6", oppositeAccountSlug="opensource"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows))

    assert [order.type for order in await load_orders(hosted)] == [
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
    assert [order.origin_unknown for order in await load_orders(hosted)].index(True) == 1
    assert await running_balances(hosted, "webpack") == [
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
    assert await load_balances(hosted) == {
        ("webpack", "BALANCE"): 10_100,
        ("opensource", "BALANCE"): 2000,
        ("opensource", "CASH"): -12_100,
    }


async def test_a_processor_fee_of_its_own_is_a_bill_of_the_processor(
    hosted: Sessions, tmp_path: Path
) -> None:
    fee = csv_row("PAYMENT_PROCESSOR_FEE", "-0.59", oppositeAccountSlug="stripe", shortGroup="one")
    await import_csv(
        hosted, write_csv(tmp_path, [donation(shortGroup="one"), fee, host_fee(shortGroup="one")])
    )

    gave, billed, kept = await load_transactions(hosted)
    assert [t.kind for t in (gave, billed, kept)] == ["DONATION", "PAYMENT_PROCESSOR_FEE", "HOST_FEE"]
    assert gave.group_id == billed.group_id == kept.group_id
    assert gave.order_id == kept.order_id != billed.order_id
    assert {order.import_key for order in await load_orders(hosted)} == {
        "open-collective:webpack:one",
        "open-collective:webpack:one:id3",
    }
    assert await running_balances(hosted, "webpack") == [1000, 941, 841]
    assert (await load_balances(hosted))["opensource", "CASH"] == -941


async def test_two_contributions_of_one_group_have_an_order_each(hosted: Sessions, tmp_path: Path) -> None:
    group = {"shortGroup": "one"}
    rows = [donation(**group), host_fee(**group), donation("20", **group), host_fee("-2", **group)]
    path = write_csv(tmp_path, [*rows, host_fee("-3", **group)])
    await import_csv(hosted, path)
    before = await digest_tables(hosted)
    await import_csv(hosted, path)
    assert await digest_tables(hosted) == before

    results = {order.import_key: order for order in await load_orders(hosted)}
    key = "open-collective:webpack:one"
    assert set(results) == {key, f"{key}:id4", f"{key}:id6"}
    assert results[f"{key}:id6"].type == "TRANSFER"
    of = {order.id: order.import_key for order in results.values()}
    assert [t.order_id and of[t.order_id] for t in await load_transactions(hosted)] == [
        key,
        key,
        f"{key}:id4",
        f"{key}:id4",
        f"{key}:id6",
    ]


async def test_yen_have_no_decimal_places(sessions: Sessions, tmp_path: Path) -> None:
    async with sessions() as session:
        await create_organization(session, "platform", is_platform=True)
        await create_organization(session, "opensource", "JPY")
        await session.commit()
    report = await import_csv(
        sessions, write_csv(tmp_path, [donation("1500", fee="-54", net="1296")], currency="JPY")
    )
    assert (report.balance.minor_units, report.balance.currency) == (1296, "JPY")
    (transaction,) = await load_transactions(sessions)
    assert (transaction.amount, transaction.host_fee) == (1500, 150)
    message = await expect_import_problem(
        sessions, write_csv(tmp_path, [donation("15.5")], currency="JPY"), collective_slug="other"
    )
    assert message == "Line 2, amount: '15.5': JPY has 0 decimal places"


async def test_fees_may_use_up_the_whole_amount(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation(fee="-0.59", net="0"), donation()]))
    assert await running_balances(hosted, "webpack") == [1000]
    assert (await load_balances(hosted))["opensource", "BALANCE"] == 941
