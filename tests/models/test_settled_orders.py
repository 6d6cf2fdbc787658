"""An order and its transactions say the same: each line of the guards, tried alone in plain SQL."""

from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld

BALANCES = (("host", "payer", "USD", "BALANCE", -100), ("host", "payee", "USD", "BALANCE", 100))
MILLION = 1_000_000_00


def _set_status(world: GuardWorld, status: str) -> None:
    world.run('UPDATE public."order" SET status = %s WHERE id = %s', status, world.ids["order"])


def _pay(order: str, transaction: dict[str, Any], **columns: Any) -> Attempt:
    """Return an attempt to call an order paid with a bare transaction."""

    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", order, "payer", "payee", **columns)
        world.transaction(order_id=order_id, **transaction)
        _set_status(world, "PAID")

    return attempt


def _redeem(world: GuardWorld) -> None:
    """Approve a redemption of 0.250, whose currents have moved."""
    world.issue(1_000)
    order_id = world.order("order", "REDEMPTION", "volunteer", "business", 250, offer_id=world.ids["offer"])
    world.redemption("order")
    _set_status(world, "APPROVED")
    world.transaction(
        kind="REDEMPTION",
        order_id=order_id,
        currency="CUR",
        host_currency="CUR",
        **dict.fromkeys(("amount", "gross", "to_host_amount", "to_collective_amount"), 250),
    )


def _payout(**wrong: Any) -> Attempt:
    """Return an attempt to pay the dollars of a redemption: 5.00, less 0.50."""

    def attempt(world: GuardWorld) -> None:
        columns: dict[str, Any] = {
            "kind": "REDEMPTION_PAYOUT",
            "order_id": world.ids["order"],
            "amount": 500,
            "gross": 500,
            "platform_fee": 50,
            "to_host_amount": 450,
            "to_collective_amount": 450,
            "from_collective_id": world.ids["platform"],
            "to_collective_id": world.ids["volunteer"],
        }
        changed = {
            name: world.ids[value] if isinstance(value, str) and value in world.ids else value
            for name, value in wrong.items()
        }
        world.transaction(**columns | changed)

    return attempt


def _redeem_and(attempt: Attempt) -> Attempt:
    def both(world: GuardWorld) -> None:
        _redeem(world)
        attempt(world)

    return both


def _pay_out(world: GuardWorld) -> None:
    _payout()(world)
    _set_status(world, "PAID")


UNPAID: dict[str, Attempt] = {
    "another kind": _pay("DONATION", {"kind": "TRANSFER"}),
    "another amount": _pay("DONATION", {"kind": "DONATION"}, amount=101),
    "another amount than approved": _pay("DONATION", {"kind": "DONATION"}, approved_amount=99),
    "another currency": _pay("TRANSFER", {"kind": "TRANSFER"}, currency="CUR"),
    "the cover of a fee alone": _pay("DONATION", {"kind": "PAYMENT_PROCESSOR_COVER"}),
    "its currents alone": _redeem_and(lambda world: _set_status(world, "PAID")),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", UNPAID)
def test_an_order_is_not_paid_with(shared_database: Database, name: str, mode: str) -> None:
    assert_refused(shared_database.owner_url, mode, "paid_order_has_transaction", UNPAID[name])


PAID: dict[str, Attempt] = {
    "its transaction": _pay("TRANSFER", {"kind": "TRANSFER"}),
    "the transaction of what was approved": _pay(
        "TRANSFER", {"kind": "TRANSFER"}, amount=9, approved_amount=100
    ),
    "an imported cover of a fee": _pay(
        "DONATION", {"kind": "PAYMENT_PROCESSOR_COVER"}, amount=9, import_key="k", status="PAID"
    ),
    "a redemption's payout": _redeem_and(_pay_out),
}


@pytest.mark.parametrize("name", PAID)
def test_an_order_is_paid_with(shared_database: Database, name: str) -> None:
    assert_accepted(shared_database.owner_url, PAID[name])


PAYOUTS: dict[str, dict[str, Any]] = {
    "more dollars": {
        "amount": 600,
        "gross": 600,
        "to_host_amount": 550,
        "to_collective_amount": 550,
    },
    "no fee": {"platform_fee": 0, "to_host_amount": 500, "to_collective_amount": 500},
    "a host fee": {"host_fee": 1, "to_collective_amount": 449},
    "a processor's fee": {"payment_processor_fee": 1, "to_host_amount": 449, "to_collective_amount": 449},
    "somebody else": {"to_collective_id": "person"},
    "another payer": {"from_collective_id": "host"},
    "euros": {"currency": "EUR"},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PAYOUTS)
def test_a_redemption_is_not_paid_out_with(shared_database: Database, name: str, mode: str) -> None:
    attempt = _payout(**PAYOUTS[name])
    assert_refused(shared_database.owner_url, mode, "transaction_order", attempt, given=_redeem)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE public."order" SET approved_amount = 100 WHERE id = %s',
        "UPDATE public.redemption SET usd_fee_minor = 0 WHERE order_id = %s",
        "UPDATE public.redemption SET usd_gross_minor = 400 WHERE order_id = %s",
        "UPDATE public.redemption SET approved_price_minor = 3000 WHERE order_id = %s",
    ],
    ids=["amount", "fee", "gross", "price"],
)
def test_a_redemption_whose_currents_moved_keeps_its_figures(
    shared_database: Database, statement: str, mode: str
) -> None:
    assert_refused(
        shared_database.owner_url,
        mode,
        "settled_amount",
        lambda world: world.run(statement, world.ids["order"]),
        given=_redeem,
    )


# What is posted for an order


def _post(order: str = "TRANSFER", amount: int = 100, **columns: Any) -> Attempt:
    """Return an attempt to post 1.00 from payer to payee for an order between them."""
    ids = {"from_", "to"}
    sides = {"from_": "payer", "to": "payee"} | {name: columns.pop(name) for name in ids & set(columns)}
    terms = columns.pop("terms", {})

    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", order, sides["from_"], sides["to"], amount, **terms)
        values = {**world.inside("payer", "payee", -100), **columns}
        world.post(BALANCES, order_id=order_id, **values)

    return attempt


FOREIGN: dict[str, Attempt] = {
    "another kind": _post(order="DONATION"),
    "another amount": _post(amount=101),
    "another amount than approved": _post(terms={"approved_amount": 99}),
    "another payer": _post(from_="business"),
    "another payee": _post(to="business"),
    "a payer although the origin is unknown": _post(
        order="ADDED_FUNDS", kind="ADDED_FUNDS", terms={"origin_unknown": True}
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_nothing_is_posted_for_an_order_but_what_it_says(shared_database: Database, name: str) -> None:
    assert_refused(shared_database.owner_url, "plain", "transaction_order", FOREIGN[name])


def test_what_an_order_says_is_posted(shared_database: Database) -> None:
    assert_accepted(shared_database.owner_url, _post())


def _pay_outside(**wrong: Any) -> Attempt:
    """Return an attempt to pay an expense of 1.00, with a fee of 0.10, to outside."""

    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", "EXPENSE", "payer", "payee", payout_method_kind="MANUAL")
        columns: dict[str, Any] = {
            "amount": 100,
            "gross": 110,
            "payment_processor_fee": 10,
            "from_host_currency": "USD",
            "from_host_fx_rate": 1,
            "from_host_amount": -110,
            "from_collective_currency": "USD",
            "from_collective_fx_rate": 1,
            "from_collective_amount": -110,
        } | wrong
        paid, cash = columns["from_collective_amount"], -columns["from_host_amount"]
        world.post(
            [("host", "payer", "USD", "BALANCE", paid), ("host", "host", "USD", "CASH", cash)],
            kind="EXPENSE",
            order_id=order_id,
            from_collective_id=world.ids["payer"],
            to_collective_id=world.ids["payee"],
            from_host_id=world.ids["host"],
            to_host_amount=columns["gross"] - columns["payment_processor_fee"],
            **columns,
        )

    return attempt


BEYOND: dict[str, dict[str, Any]] = {
    "a cent more": {"from_host_amount": -111, "from_collective_amount": -111},
    "a million": {"from_host_amount": -MILLION, "from_collective_amount": -MILLION},
    "a gross beyond the fee": {"gross": 120, "from_host_amount": -120, "from_collective_amount": -120},
}


@pytest.mark.parametrize("name", BEYOND)
def test_no_more_leaves_a_balance_than_amount_and_fee(shared_database: Database, name: str) -> None:
    assert_refused(
        shared_database.owner_url,
        "plain",
        "transaction_figures",
        _pay_outside(**BEYOND[name]),
        given=lambda world: world.open_balance("payer", 2 * MILLION),
    )


def test_a_payout_with_its_fee_is_accepted(shared_database: Database) -> None:
    assert_accepted(shared_database.owner_url, _pay_outside())


def _receive_euros(**wrong: Any) -> Attempt:
    """Return an attempt to receive 1.00 EUR at 1.25 in a book in dollars, with a host fee of 0.05."""

    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", "ADDED_FUNDS", "host", "euros", currency="EUR", origin_unknown=True)
        columns: dict[str, Any] = {
            "currency": "EUR",
            "amount": 100,
            "fx_rate": "1.25",
            "gross": 125,
            "host_fee": 5,
            "to_host_amount": 125,
            "to_collective_amount": 96,
        } | wrong
        gross, fee, rest = (columns[name] for name in ("gross", "host_fee", "to_collective_amount"))
        world.post(
            [
                ("host", "host", "USD", "CASH", -gross),
                ("host", "host", "USD", "BALANCE", fee),
                ("host", "host", "USD", "EXCHANGE", gross - fee),
                ("host", "host", "EUR", "EXCHANGE", -rest),
                ("host", "euros", "EUR", "BALANCE", rest),
            ],
            kind="ADDED_FUNDS",
            order_id=order_id,
            to_collective_id=world.ids["euros"],
            to_host_id=world.ids["host"],
            **columns,
        )

    return attempt


CONVERTED: dict[str, dict[str, Any]] = {
    "a gross at another rate": {"gross": 130, "to_host_amount": 130},
    "less than the rest": {"to_collective_amount": 90},
    "the amount without the fee": {"to_collective_amount": 100},
}


@pytest.mark.parametrize("name", CONVERTED)
def test_figures_follow_from_amount_and_rate(shared_database: Database, name: str) -> None:
    attempt = _receive_euros(**CONVERTED[name])
    assert_refused(shared_database.owner_url, "plain", "transaction_figures", attempt)


def test_converted_figures_are_accepted(shared_database: Database) -> None:
    assert_accepted(shared_database.owner_url, _receive_euros())


# Figures and legs


def test_figures_of_one_with_legs_of_a_million_are_refused(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", "TRANSFER", "payer", "payee")
        legs = [(*leg[:4], leg[4] * MILLION // 100) for leg in BALANCES]
        world.post(legs, amount=100, order_id=order_id, **world.inside("payer", "payee", -100))

    def given(world: GuardWorld) -> None:
        world.open_balance("payer", 2 * MILLION)

    assert_refused(shared_database.owner_url, "plain", "transaction_legs", attempt, given=given)


OTHER_LEGS: dict[str, list[tuple[str, str, str, str, int]]] = {
    "another payee": [BALANCES[0], ("host", "business", "USD", "BALANCE", 100)],
    "another kind of account": [BALANCES[0], ("host", "host", "USD", "CASH", 100)],
    "another book": [
        BALANCES[0],
        ("host", "other-host", "USD", "CLEARING", 100),
        ("other-host", "host", "USD", "CLEARING", -100),
        ("other-host", "distant", "USD", "BALANCE", 100),
    ],
    "the other way": [(*leg[:4], -leg[4]) for leg in BALANCES],
}


@pytest.mark.parametrize("name", OTHER_LEGS)
def test_legs_follow_from_the_figures(shared_database: Database, name: str) -> None:
    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", "TRANSFER", "payer", "payee")
        values = world.inside("payer", "payee", -100)
        world.post(OTHER_LEGS[name], amount=100, order_id=order_id, **values)

    assert_refused(shared_database.owner_url, "plain", "transaction_legs", attempt)


@pytest.mark.parametrize("kind", ["DONATION", "EXPENSE", "TRANSFER", "HOURS", "SETTLEMENT", "CASH_OUT"])
def test_a_kind_of_payment_needs_an_order(shared_database: Database, kind: str) -> None:
    def attempt(world: GuardWorld) -> None:
        values = world.inside("payer", "payee", -100)
        world.post(BALANCES, kind=kind, **values)

    by = {"HOURS": "transaction_legs", "SETTLEMENT": "transaction_legs"}.get(kind, "transaction_order")
    assert_refused(shared_database.owner_url, "plain", by, attempt)


# Refunds


def _refund(**wrong: Any) -> Attempt:
    """Return an attempt to refund 0.50 of a payment over 1.00 between two books."""

    def attempt(world: GuardWorld) -> None:
        amount = wrong.get("amount", -50)
        columns = {
            "kind": "REFUND",
            "refund_of_id": world.ids["original"],
            "order_id": world.ids["order"],
            **dict.fromkeys(("amount", "gross", "to_host_amount", "to_collective_amount"), amount),
            **world.inside("payer", "payee", -amount),
        }
        changed = {
            name: world.ids[value] if isinstance(value, str) else value for name, value in wrong.items()
        }
        world.transaction(**columns | changed)

    return attempt


def _paid_once(world: GuardWorld) -> None:
    world.order("order", "TRANSFER", "payer", "payee")
    world.ids["original"] = world.transaction(
        kind="TRANSFER", order_id=world.ids["order"], **world.inside("payer", "payee", -100)
    )


def _refunded_half(world: GuardWorld) -> None:
    _paid_once(world)
    _refund()(world)


REFUNDS: dict[str, tuple[Attempt, Attempt]] = {
    "more to the payer": (_paid_once, _refund(from_collective_amount=101)),
    "more by the payer's host": (_paid_once, _refund(from_host_amount=101)),
    "more to the payer in parts": (_refunded_half, _refund(amount=-49, from_collective_amount=51)),
    "not all of the gross": (
        _refunded_half,
        _refund(gross=-49, to_host_amount=-49, to_collective_amount=-49),
    ),
    "not all to the payer": (_refunded_half, _refund(from_collective_amount=49)),
    "from another book": (_paid_once, _refund(to_host_id="other-host")),
    "to another book": (_paid_once, _refund(from_host_id="other-host")),
}


@pytest.mark.parametrize("name", REFUNDS)
def test_refunds_do_not_give_back(shared_database: Database, name: str) -> None:
    given, attempt = REFUNDS[name]
    with_book = "book" in name
    by = "transaction_host" if with_book and name.startswith("to") else "refund_figures"
    assert_refused(shared_database.owner_url, "plain", by, attempt, given=given)


def test_two_halves_are_accepted(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _refunded_half(world)
        _refund()(world)

    assert_accepted(shared_database.owner_url, attempt)


def test_a_settlement_posts_what_its_order_says(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        order_id = world.order("order", "SETTLEMENT", "host", "other-host")
        world.insert("settlement", order_id=order_id, reference="r", paid_minor=100, covers="CLEARING")
        world.transaction(
            id=new_id(),
            kind="SETTLEMENT",
            order_id=order_id,
            amount=99,
            gross=99,
            to_host_amount=99,
            to_collective_amount=99,
            from_collective_id=world.ids["host"],
            from_host_id=world.ids["host"],
            to_collective_id=world.ids["other-host"],
            to_host_id=world.ids["other-host"],
            from_host_amount=-100,
        )

    assert_refused(shared_database.owner_url, "plain", "transaction_order", attempt)
