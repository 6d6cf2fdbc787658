"""The first steps of a history: every mutation succeeds once, and people have what later ones need."""

from typing import TYPE_CHECKING, Any

from tests.factories import money
from tests.history.calls import Call

if TYPE_CHECKING:
    from tests.history.workload import Workload

USER = "john"


async def take_first_steps(workload: "Workload") -> None:
    """Earn, redeem and cash out currents; pay, reject, cancel and refund; owe another host and settle it."""
    await _earn(workload)
    await _redeem_and_cash_out(workload)
    await _decide_expenses(workload)
    await _settle(workload)
    given = await _make(workload, "TRANSFER", "giver", "transferFunds", **_between("webpack", "babel"))
    await _do(workload, "refundOrder", "holder", given, "order { id } transactions { id }")


async def _earn(workload: "Workload") -> None:
    for who in (USER, "kim", "lee"):
        for _ in range(3):
            await workload.log_hours(who)
            await _do(workload, "approveOrder", "chris", workload.orders[-1].id)


async def _redeem_and_cash_out(workload: "Workload") -> None:
    offer = list(workload.scene.offers)[-1]
    redeemed = await _make(
        workload, "REDEMPTION", USER, "redeemOffer", offer=offer, price=money("4.00"), receipt="Table 1"
    )
    await _do(workload, "approveOrder", "mark", redeemed)
    await _do(workload, "payOrder", "admin", redeemed)
    cashed = await _make(workload, "CASH_OUT", USER, "cashOut", amount=money("1.00"))
    await _do(workload, "approveOrder", "admin", cashed)
    await _do(workload, "payOrder", "eve", cashed)


async def _decide_expenses(workload: "Workload") -> None:
    expenses = [
        await _make(
            workload,
            "EXPENSE",
            USER,
            "submitExpense",
            **_between("webpack", USER),
            payoutMethod="MANUAL",
            feesPayer="PAYER",
        )
        for _ in range(3)
    ]
    await _do(workload, "approveOrder", "giver", expenses[0])
    await _do(workload, "payOrder", "holder", expenses[0])
    await _do(workload, "rejectOrder", "giver", expenses[1], reason="no")
    await _do(workload, "cancelOrder", USER, expenses[2])


async def _settle(workload: "Workload") -> None:
    await _make(
        workload,
        "DONATION",
        "giver",
        "donate",
        **_between("kyoto", "webpack", "90.00"),
        paymentMethod="BALANCE",
    )
    settled = await _make(
        workload,
        "SETTLEMENT",
        "holder",
        "settleHosts",
        **_between("yen", "dollars", "40.00"),
        paid=money("5800", "JPY"),
        reference="BANK-0",
    )
    await _do(workload, "approveOrder", "rita", settled)


def _between(payer: str, payee: str, value: str = "10.00") -> dict[str, Any]:
    return {"from": {"slug": payer}, "to": {"slug": payee}, "amount": money(value)}


async def _make(workload: "Workload", kind: str, who: str, mutation: str, **arguments: Any) -> str:
    """Make an order; return its id."""
    call = await workload.make(kind, who, mutation, (1_000, "USD"), **arguments)
    return _order_id(call)


async def _do(
    workload: "Workload", mutation: str, who: str, order_id: str, fields: str = "order { id }", **more: Any
) -> None:
    _order_id(await workload.call(mutation, who, fields, id=order_id, **more))


def _order_id(call: Call) -> str:
    assert call.result is not None, (call.mutation, call.code)
    result: str = call.result["order"]["id"]
    return result
