"""Each line of the guards of a transaction's figures and refunds, tried alone in plain SQL."""

from typing import Any

import pytest

from tests.conftest import Database
from tests.ledger_sql import expect_refusal, transaction_values
from tests.models.guard_cases import MODES, Attempt, assert_refused, guard_world
from tests.models.guard_world import GuardWorld

EUROS = {"currency": "EUR"}
"""With another currency than the host's, no other check sees a wrong sign first."""
WRONG_FIGURES: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown kind": ("kind_known", {"kind": "GIFT"}),
    "a refund kind without an original": ("refund_kind", {"kind": "REFUND"}),
    "an original without a refund kind": ("refund_kind", {"refund_of_id": "donated"}),
    "a rate of zero": ("fx_rate_positive", {"fx_rate": 0}),
    "a negative rate": ("fx_rate_positive", {"fx_rate": -1}),
    "what the host nets": ("to_host_amount", {"to_host_amount": 99}),
    "what the collective gets": ("to_collective_amount", {"to_collective_amount": 99}),
    "more than the amount": ("to_collective_at_most_amount", EUROS | {"to_collective_amount": 101}),
    "no amount": ("signs", EUROS | {"amount": 0, "to_collective_amount": 0}),
    "a negative amount": ("signs", EUROS | {"amount": -100}),
    "a negative processor fee": ("signs", EUROS | {"payment_processor_fee": -1, "to_host_amount": 101}),
    "a negative platform fee": ("signs", EUROS | {"platform_fee": -1, "to_host_amount": 101}),
    "a negative host fee": ("signs", EUROS | {"host_fee": -1}),
    "a negative rest": ("signs", EUROS | {"to_collective_amount": -1}),
}
REFUND: dict[str, Any] = {
    "kind": "REFUND",
    "refund_of_id": "donated",
    "currency": "EUR",
    "amount": -100,
    "gross": -100,
    "to_host_amount": -100,
    "to_collective_amount": -100,
}
WRONG_REFUNDS: dict[str, dict[str, Any]] = {
    "no amount": {"amount": 0, "to_collective_amount": 0},
    "a positive amount": {"amount": 100},
    "a positive processor fee": {"payment_processor_fee": 1, "to_host_amount": -101},
    "a positive platform fee": {"platform_fee": 1, "to_host_amount": -101},
    "a positive host fee": {"host_fee": 1},
    "a positive rest": {"to_collective_amount": 1},
}


def _write(columns: dict[str, Any]) -> Attempt:
    return lambda world: world.transaction(
        **{name: world.ids[value] if name == "refund_of_id" else value for name, value in columns.items()}
    )


def _donated(world: GuardWorld) -> None:
    world.ids["donated"] = world.transaction(currency="EUR")
    world.ids["dollars"] = world.transaction()


CASES = {name: (f"ck_transaction_{by}", columns) for name, (by, columns) in WRONG_FIGURES.items()} | {
    f"a refund of {name}": ("ck_transaction_signs", REFUND | columns)
    for name, columns in WRONG_REFUNDS.items()
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_wrong_figures_are_refused(shared_database: Database, name: str, mode: str) -> None:
    by, columns = CASES[name]
    assert_refused(shared_database.owner_url, mode, by, _write(columns), given=_donated)


def _refund_twice(world: GuardWorld) -> None:
    world.ids["refund"] = world.transaction(**REFUND | {"refund_of_id": world.ids["donated"]})
    _write(REFUND | {"refund_of_id": "refund"})(world)


REFUNDS: dict[str, tuple[str, Attempt]] = {
    "of a refund": ("refund_of_original", _refund_twice),
    "in another currency": ("refund_of_original", _write(REFUND | {"refund_of_id": "dollars"})),
    "under an order": (
        "refund_of_original",
        lambda world: _write(REFUND | {"order_id": world.order("o", "TRANSFER", "payer", "payee")})(world),
    ),
    "of more than the original": (
        "ck_refund_total_at_most_the_original",
        _write(REFUND | {"amount": -101}),
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUNDS)
def test_a_refund_is_refused(shared_database: Database, name: str, mode: str) -> None:
    by, attempt = REFUNDS[name]
    assert_refused(shared_database.owner_url, mode, by, attempt, given=_donated)


def test_a_whole_refund_is_accepted(shared_database: Database) -> None:
    with guard_world(shared_database.owner_url) as world:
        _donated(world)
        _write(REFUND)(world)
        with expect_refusal("ck_refund_total_at_most_the_original"):
            _write(REFUND)(world)


# Fees of payouts


def _payout(amount: int, fee: int, *, kind: str = "EXPENSE", **columns: Any) -> Attempt:
    gross = columns.get("gross", amount) + fee
    figures = {"gross": gross, "payment_processor_fee": fee, "to_host_amount": gross - fee}
    return lambda world: world.transaction(**transaction_values(amount, **columns) | figures | {"kind": kind})


YEN: dict[str, Any] = {"host_currency": "JPY", "fx_rate": 150, "gross": 150_000}
DINARS: dict[str, Any] = {"host_currency": "KWD", "fx_rate": "0.3", "gross": 300}
TOO_HIGH: dict[str, Attempt] = {
    "of a small expense": _payout(1_00, 50_01),
    "of a large expense": _payout(1000_00, 100_01),
    "of a small cash-out": _payout(1_00, 50_01, kind="CASH_OUT"),
    "of a large cash-out": _payout(1000_00, 100_01, kind="CASH_OUT"),
    "in yen": _payout(1000_00, 15_001, **YEN),
    "in dinars": _payout(1_00, 50_001, **DINARS),
}
HIGHEST: dict[str, Attempt] = {
    "of a small expense": _payout(1_00, 50_00),
    "of a large expense": _payout(1000_00, 100_00),
    "in yen": _payout(1000_00, 15_000, **YEN),
    "in dinars": _payout(1_00, 50_000, **DINARS),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TOO_HIGH)
def test_a_payout_fee_above_a_tenth_and_fifty_units_is_refused(
    shared_database: Database, name: str, mode: str
) -> None:
    assert_refused(shared_database.owner_url, mode, "payout_fee_limit", TOO_HIGH[name])


@pytest.mark.parametrize("name", HIGHEST)
def test_the_highest_payout_fee_is_accepted(shared_database: Database, name: str) -> None:
    with guard_world(shared_database.owner_url) as world:
        HIGHEST[name](world)
