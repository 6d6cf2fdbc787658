"""Which funds are added and which balances transferred, and every refusal: the decisions alone."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.enums import CollectiveType, GiverStatus, OrderStatus, OrderType, Scope
from services.access.actor import Actor
from services.core.errors import Forbidden, Invalid, InvalidState, Problem, Unauthenticated
from services.core.money import UncheckedAmount
from services.core.party import Party
from services.orders.contribution_decision import (
    AddedFunds,
    claim_origin,
    decide_added_funds,
    decide_transfer,
)
from tests.pure.rows import NOON, ORDER_ID, admin_of, collective

HOST = collective(8, CollectiveType.NONPROFIT, host_fee_bps=500)
OTHER_HOST = collective(9, CollectiveType.NONPROFIT)
CLUB = Party(collective(1, CollectiveType.COMMUNITY), HOST)
TEAM = Party(collective(2, CollectiveType.COMMUNITY, currency="EUR", host_fee_bps=200), HOST)
PERSON, UNHOSTED = Party(collective(3), OTHER_HOST), Party(collective(4, CollectiveType.COMMUNITY))
EVENT = Party(collective(5, CollectiveType.EVENT), HOST)
ARCHIVED = Party(collective(6, CollectiveType.COMMUNITY, archived_at=NOON), HOST)
SUSPENDED = Party(
    collective(7, CollectiveType.COMMUNITY), collective(8, CollectiveType.NONPROFIT, host_suspended_at=NOON)
)
ANN = collective(10)
EVERYWHERE: Any = {"scopes": frozenset(Scope), "platform_fee_bps": 500}
HOLDER = admin_of(HOST, user=ANN, **EVERYWHERE)
GIVER = admin_of(
    *(p.collective for p in (CLUB, TEAM, UNHOSTED, ARCHIVED) if p.collective), user=ANN, **EVERYWHERE
)


def amount(value: str, currency: str = "USD") -> UncheckedAmount:
    return UncheckedAmount(Decimal(value), currency)


FUNDS = AddedFunds(amount=amount("10.00", "EUR"), description=" Bank ")


@pytest.mark.parametrize("giver", [None, PERSON, TEAM])
def test_funds_are_added_for_a_giver_or_for_nobody_known(giver: Party | None) -> None:
    order = decide_added_funds(HOLDER, giver, TEAM, FUNDS, order_id=ORDER_ID)
    assert (order.id, order.type, order.status) == (ORDER_ID, OrderType.ADDED_FUNDS, OrderStatus.PENDING)
    assert (order.amount, order.currency, order.description) == (1_000, "EUR", "Bank")
    assert (order.to_id, order.from_id) == (
        UUID(int=2),
        giver.collective.id if giver and giver.collective else HOST.id,
    )
    assert (order.origin_unknown, order.has_public_side) == (giver is None, True)
    assert (order.host_fee_bps, order.platform_fee_bps) == (200, 500)


def test_the_host_may_take_another_fee() -> None:
    order = decide_added_funds(HOLDER, None, TEAM, replace(FUNDS, host_fee_bps=0), order_id=ORDER_ID)
    assert order.host_fee_bps == 0


def test_a_giver_who_has_to_confirm_is_unknown_until_then() -> None:
    order = decide_added_funds(HOLDER, PERSON, TEAM, FUNDS, order_id=ORDER_ID)
    claim_origin(order, TEAM)
    assert (order.claimed_giver_id, order.giver_status) == (UUID(int=3), GiverStatus.WAITING)
    assert (order.from_id, order.origin_unknown) == (HOST.id, True)


@pytest.mark.parametrize(
    ("actor", "giver", "payee", "change", "problem", "field"),
    [
        (Actor(), None, TEAM, {}, Unauthenticated, None),
        (GIVER, None, TEAM, {}, Forbidden, None),
        (replace(HOLDER, scopes=frozenset()), None, TEAM, {}, Forbidden, None),
        (HOLDER, EVENT, TEAM, {}, Invalid, "from"),
        (HOLDER, ARCHIVED, TEAM, {}, InvalidState, "from"),
        (HOLDER, None, ARCHIVED, {}, InvalidState, "to"),
        (HOLDER, None, SUSPENDED, {}, InvalidState, "to"),
        (HOLDER, None, TEAM, {"amount": amount("10.00")}, Invalid, "amount.currency"),
        (HOLDER, None, TEAM, {"amount": amount("0", "EUR")}, Invalid, "amount.value"),
        (HOLDER, None, TEAM, {"amount": amount("10", "CUR")}, Invalid, "amount.currency"),
        (HOLDER, None, TEAM, {"host_fee_bps": -1}, Invalid, "hostFeeBps"),
        (HOLDER, None, TEAM, {"host_fee_bps": 10_001}, Invalid, "hostFeeBps"),
        (HOLDER, None, TEAM, {"description": "x" * 100_000}, Invalid, "description"),
    ],
)
def test_funds_that_are_refused(
    actor: Actor,
    giver: Party | None,
    payee: Party,
    change: dict[str, Any],
    problem: type[Problem],
    field: str | None,
) -> None:
    with pytest.raises(problem) as raised:
        decide_added_funds(actor, giver, payee, replace(FUNDS, **change), order_id=ORDER_ID)
    assert (".".join(raised.value.path or ()) or None) == field


@pytest.mark.parametrize(
    ("payer", "payee", "currency", "host_fee_bps"),
    [
        (CLUB, TEAM, "EUR", 200),
        (TEAM, CLUB, "USD", 500),
        (CLUB, PERSON, "USD", 0),
        (UNHOSTED, TEAM, "CUR", 200),
    ],
)
def test_a_transfer_is_in_the_payees_currency(
    payer: Party, payee: Party, currency: str, host_fee_bps: int
) -> None:
    order = decide_transfer(
        GIVER, payer, payee, amount("3.000" if currency == "CUR" else "3.00", currency), order_id=ORDER_ID
    )
    assert (order.type, order.status, order.currency) == (OrderType.TRANSFER, OrderStatus.PENDING, currency)
    assert (order.amount, order.host_fee_bps) == (3_000 if currency == "CUR" else 300, host_fee_bps)
    assert payer.collective is not None
    assert payee.collective is not None
    assert (order.from_id, order.to_id, order.created_by_id) == (
        payer.collective.id,
        payee.collective.id,
        ANN.id,
    )


@pytest.mark.parametrize(
    ("actor", "payer", "payee", "given", "problem", "field"),
    [
        (Actor(), CLUB, TEAM, amount("3", "EUR"), Unauthenticated, None),
        (HOLDER, PERSON, TEAM, amount("3", "EUR"), Forbidden, None),
        (replace(GIVER, scopes=frozenset()), CLUB, TEAM, amount("3", "EUR"), Forbidden, None),
        (GIVER, UNHOSTED, TEAM, amount("3", "EUR"), InvalidState, "from"),
        (GIVER, CLUB, UNHOSTED, amount("3"), InvalidState, "to"),
        (GIVER, CLUB, CLUB, amount("3"), Invalid, "to"),
        (GIVER, CLUB, EVENT, amount("3"), Invalid, "to"),
        (GIVER, ARCHIVED, TEAM, amount("3", "EUR"), InvalidState, "from"),
        (GIVER, CLUB, SUSPENDED, amount("3"), InvalidState, "to"),
        (GIVER, CLUB, TEAM, amount("3"), Invalid, "amount.currency"),
        (GIVER, CLUB, TEAM, amount("-3", "EUR"), Invalid, "amount.value"),
    ],
)
def test_transfers_that_are_refused(
    actor: Actor,
    payer: Party,
    payee: Party,
    given: UncheckedAmount,
    problem: type[Problem],
    field: str | None,
) -> None:
    with pytest.raises(problem) as raised:
        decide_transfer(actor, payer, payee, given, order_id=ORDER_ID)
    assert (".".join(raised.value.path or ()) or None) == field
