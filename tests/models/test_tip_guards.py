"""A tip goes to the platform, beside the gift that it comes with: each line of the guard, in plain SQL."""

from typing import Any

import pytest

from models import new_id
from tests.conftest import Database
from tests.models.guard_cases import MODES, Attempt, assert_accepted, assert_refused
from tests.models.guard_world import GuardWorld


def _gift(world: GuardWorld) -> None:
    """Give 1.00 with a tip of 0.10 from a balance in the book of the host."""
    world.open_balance("payer", 1_000)
    world.ids["group"] = new_id()
    world.order("gift", "DONATION", "payer", "payee", tip=10)
    _post(world, "payee", 100, kind="DONATION")


def _post(world: GuardWorld, to: str, amount: int, *, book: str = "host", **columns: Any) -> None:
    values = {"order_id": world.ids["gift"], "group_id": world.ids["group"], "kind": "PLATFORM_TIP"}
    world.post(
        [(book, "payer", "USD", "BALANCE", -amount), (book, to, "USD", "BALANCE", amount)],
        amount=amount,
        **{**world.inside("payer", to, -amount, book=book), **values, **columns},
    )


def _tip(to: str = "platform", amount: int = 10, **columns: Any) -> Attempt:
    return lambda world: _post(world, to, amount, **columns)


def _other_giver(world: GuardWorld) -> None:
    world.open_balance("payee", 1_000)
    world.post(
        [("host", "payee", "USD", "BALANCE", -10), ("host", "platform", "USD", "BALANCE", 10)],
        amount=10,
        kind="PLATFORM_TIP",
        order_id=world.ids["gift"],
        group_id=world.ids["group"],
        **world.inside("payee", "platform", -10),
    )


def _twice(world: GuardWorld) -> None:
    _tip()(world)
    _tip()(world)


def _of_another_order(world: GuardWorld) -> None:
    world.order("gift", "TRANSFER", "payer", "payee")
    _tip()(world)


def _with_fee(world: GuardWorld) -> None:
    fee: dict[str, Any] = {"host_fee": 1, "to_collective_amount": 9}
    world.post(
        [
            ("host", "payer", "USD", "BALANCE", -10),
            ("host", "host", "USD", "BALANCE", 1),
            ("host", "platform", "USD", "BALANCE", 9),
        ],
        amount=10,
        kind="PLATFORM_TIP",
        order_id=world.ids["gift"],
        group_id=world.ids["group"],
        **world.inside("payer", "platform", -10) | fee,
    )


def _pay_without(world: GuardWorld) -> None:
    world.run('UPDATE public."order" SET status = %s WHERE id = %s', "PAID", world.ids["gift"])


WRONG: dict[str, tuple[str, Attempt]] = {
    "to somebody else": ("tip_of_gift", _tip("payee")),
    "to the host": ("tip_of_gift", _tip("host")),
    "of another amount": ("tip_of_gift", _tip(amount=11)),
    "in another group": ("tip_of_gift", lambda world: _post(world, "platform", 10, group_id=new_id())),
    "by another giver": ("tip_of_gift", _other_giver),
    "a second time": ("tip_of_gift", _twice),
    "with a fee of the host": ("tip_of_gift", _with_fee),
    "beside a transfer": ("transaction_order", _of_another_order),
    "without an order": ("transaction_order", lambda world: _post(world, "platform", 10, order_id=None)),
    "left out": ("paid_order_has_transaction", _pay_without),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tip_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = WRONG[name]
    assert_refused(shared_database.owner_url, mode, by, attempt, given=_gift)


def test_the_tip_of_a_gift_is_accepted(shared_database: Database) -> None:
    def attempt(world: GuardWorld) -> None:
        _gift(world)
        _tip()(world)
        _pay_without(world)

    assert_accepted(shared_database.owner_url, attempt)


ORDERS: dict[str, tuple[str, Attempt]] = {
    "a tip of zero": ("ck_order_tip_of_gift", lambda w: w.order("o", "DONATION", "payer", "payee", tip=0)),
    "more than the gift": (
        "ck_order_tip_of_gift",
        lambda w: w.order("o", "DONATION", "payer", "payee", tip=101),
    ),
    "beside a transfer": (
        "ck_order_tip_of_gift",
        lambda w: w.order("o", "TRANSFER", "payer", "payee", tip=1),
    ),
    "of currents": (
        "ck_order_tip_of_gift",
        lambda w: w.order("o", "DONATION", "payer", "payee", tip=1, currency="CUR"),
    ),
    "another one later": (
        "order_terms",
        lambda w: w.run('UPDATE public."order" SET tip = 11 WHERE id = %s', w.ids["gift"]),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ORDERS)
def test_an_order_with_a_wrong_tip_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = ORDERS[name]
    assert_refused(shared_database.owner_url, mode, by, attempt, given=_gift)


def test_a_host_settles_at_most_what_it_keeps(shared_database: Database) -> None:
    def settle(world: GuardWorld, amount: int) -> None:
        order_id = world.order("settlement", "SETTLEMENT", "host", "platform", amount)
        world.insert(
            "settlement", order_id=order_id, reference="r", paid_minor=amount, covers="PLATFORM_FEES"
        )
        world.post(
            [
                ("host", "platform", "USD", "BALANCE", -amount),
                ("host", "host", "USD", "CASH", amount),
                ("platform", "platform", "USD", "BALANCE", amount),
                ("platform", "platform", "USD", "CASH", -amount),
            ],
            amount=amount,
            kind="PLATFORM_FEE_SETTLEMENT",
            order_id=order_id,
            **world.inside("host", "platform", -amount) | {"to_host_id": world.ids["platform"]},
        )

    def given(world: GuardWorld) -> None:
        _gift(world)
        _tip()(world)

    def settle_all(world: GuardWorld) -> None:
        given(world)
        settle(world, 10)

    url = shared_database.owner_url
    for mode in MODES:
        assert_refused(url, mode, "settlement_exceeds_debt", lambda world: settle(world, 11), given=given)
    assert_accepted(url, settle_all)
