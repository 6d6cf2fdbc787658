"""Refunds of an imported Open Collective ledger, with their fees and covers."""

from datetime import timedelta
from pathlib import Path

from sqlmodel import col

from models import (
    OrderAction,
)
from services.core.errors import InsufficientFunds
from tests.open_collective_files import (
    START,
    Sessions,
    cover,
    csv_row,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_all,
    load_balances,
    load_orders,
    load_transactions,
    returned,
    running_balances,
    write_csv,
)


async def test_a_whole_refund_with_the_kept_fee_covered_by_the_host(hosted: Sessions, tmp_path: Path) -> None:
    once, back = {"shortGroup": "one"}, {"shortGroup": "back"}
    rows = [
        donation("50", net="45"),
        donation(fee="-0.59", isRefunded="REFUNDED", shortRefundId="id6", **once),
        host_fee(isRefunded="REFUNDED", shortRefundId="id7", **once),
        cover("0.59", **back),
        returned("CONTRIBUTION", "-10", "id3", **back),
        returned("HOST_FEE", "1", "id4", oppositeAccountSlug="opensource", **back),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows))

    first, gave, fee, covered, refund, unfee = await load_transactions(hosted)
    assert [covered.kind, refund.kind, unfee.kind] == [
        "PAYMENT_PROCESSOR_COVER",
        "REFUND",
        "REFUND",
    ]
    assert (refund.refund_of_id, unfee.refund_of_id, covered.refund_of_id) == (
        gave.id,
        fee.id,
        None,
    )
    assert {t.order_id for t in (gave, fee, covered, refund, unfee)} == {gave.order_id}
    assert first.order_id != gave.order_id
    assert gave.group_id != refund.group_id == covered.group_id == unfee.group_id
    assert (refund.amount, refund.gross, refund.payment_processor_fee) == (-1000, -1000, 0)
    assert refund.from_collective_id == gave.from_collective_id
    assert await running_balances(hosted, "webpack") == [4500, 5441, 5341, 5400, 4400, 4500]
    assert (await load_balances(hosted))["opensource", "BALANCE"] == 500 - 59
    order = (await load_orders(hosted))[1]
    assert (order.status, order.updated_at) == ("REFUNDED", refund.at)
    actions = [a for a in await load_all(hosted, OrderAction, col(OrderAction.id)) if a.order_id == order.id]
    assert [(a.type, a.from_status, a.to_status, a.amount) for a in actions] == [
        ("CREATE", None, "PENDING", 1000),
        ("PAY", "PENDING", "PAID", 1000),
        ("REFUND", "PAID", "REFUNDED", 1000),
    ]


async def test_a_refund_with_its_fees_in_the_row_mirrors_them(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        donation(fee="-0.59", net="8.41"),
        returned("CONTRIBUTION", "-10", "id2", fee="0.59", net="-8.41"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows))
    gave, refund = await load_transactions(hosted)
    for name in ("amount", "gross", "payment_processor_fee", "host_fee", "to_collective_amount"):
        assert getattr(refund, name) == -getattr(gave, name)
    assert set((await load_balances(hosted)).values()) == {0}


async def test_partial_refunds_end_in_a_refunded_order(hosted: Sessions, tmp_path: Path) -> None:
    rows = [
        donation(),
        returned("CONTRIBUTION", "-4", "id2"),
        returned("CONTRIBUTION", "-6", "id2"),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows[:2]))
    assert [order.status for order in await load_orders(hosted)] == ["PAID"]
    await import_csv(hosted, write_csv(tmp_path, rows))
    (order,) = await load_orders(hosted)
    assert (order.status, order.updated_at) == ("REFUNDED", START + timedelta(days=4))
    steps = [(a.type, a.to_status) for a in await load_all(hosted, OrderAction, col(OrderAction.id))]
    assert steps[2:] == [("REFUND", "PAID"), ("REFUND", "REFUNDED")]
    assert await running_balances(hosted, "webpack") == [1000, 600, 0]
    await load_balances(hosted)


async def test_an_expense_and_a_processor_fee_come_back(hosted: Sessions, tmp_path: Path) -> None:
    payee, stripe = {"oppositeAccountSlug": "payee"}, {"oppositeAccountSlug": "stripe"}
    rows = [
        donation("100"),
        csv_row("EXPENSE", "-50", fee="-0.25", **payee),
        returned("EXPENSE", "50", "id3", fee="0.25", **payee),
        csv_row("EXPENSE", "-20", fee="-0.25", **payee),
        returned("EXPENSE", "20", "id5", **payee),
        csv_row("PAYMENT_PROCESSOR_FEE", "-3", **stripe),
        returned("PAYMENT_PROCESSOR_FEE", "3", "id7", **stripe),
    ]
    await import_csv(hosted, write_csv(tmp_path, rows))
    assert await running_balances(hosted, "webpack") == [10_000, 4975, 10_000, 7975, 9975, 9675, 9975]
    assert [order.status for order in await load_orders(hosted)] == ["PAID", *["REFUNDED"] * 3]
    await load_balances(hosted)


async def test_a_cover_without_a_refund_has_an_order_of_its_own(hosted: Sessions, tmp_path: Path) -> None:
    await import_csv(hosted, write_csv(tmp_path, [donation(net="9"), cover("0.4", isRefund="")]))
    assert [order.type for order in await load_orders(hosted)] == ["DONATION", "TRANSFER"]
    assert (await load_balances(hosted))["opensource", "BALANCE"] == 60


async def test_a_host_without_the_money_covers_nothing(hosted: Sessions, tmp_path: Path) -> None:
    message = await expect_import_problem(
        hosted, write_csv(tmp_path, [donation(), cover("0.4")]), InsufficientFunds
    )
    assert message.startswith("Line 3, amount: ")
