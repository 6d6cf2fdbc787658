"""The legs and figures of Python and of the database are the same, in every kind, direction and currency."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import Collective
from models.enums import CollectiveType, LedgerAccountKind, TransactionKind
from services.core.party import Party
from services.ledger import posting
from services.ledger.legs import Leg, currents_legs, settlement_legs
from services.ledger.transaction_amounts import (
    CURRENTS,
    TransactionAmounts,
    currents_book,
    same_currency_amounts,
)
from services.orders import refund_amounts
from services.orders.settlements import settlement_amounts
from tests.conftest import Database
from tests.pure.test_ledger_properties import PLATFORM, Movement, movements, stored

LEGS = """
    SELECT book_id, owner_id, currency, kind, sum(amount)::bigint
    FROM transaction_legs(jsonb_populate_record(NULL::transaction, %s), %s, %s)
    GROUP BY 1, 2, 3, 4 HAVING sum(amount) <> 0
"""
ARE_PLAIN = """
    SELECT has_plain_legs(jsonb_populate_record(NULL::transaction, %s), %s,
        %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[])
"""
FIGURES = "SELECT require_figures_of_amount(jsonb_populate_record(NULL::transaction, %s))"
KINDS = {
    "outside": ("DONATION", "ADDED_FUNDS"),
    "cross": ("DONATION", "TRANSFER", "EXPENSE", "HOST_MOVE"),
    "inside": ("DONATION", "TRANSFER", "EXPENSE", "MERGE", "TAX", "HOST_FEE", "PLATFORM_TIP"),
    "payout": ("EXPENSE", "CASH_OUT"),
}
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def connection(shared_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Return one connection of the owner for all examples."""
    with psycopg.connect(shared_database.owner_url, autocommit=True) as connection:
        yield connection


def legs_in_sql(connection: psycopg.Connection[Any], row: dict[str, Any], kind: str) -> set[Leg]:
    """Return the legs that the database derives from a transaction's figures."""
    text = orjson.dumps(row, default=str).decode()
    return {Leg(*leg) for leg in connection.execute(LEGS.encode(), [text, kind, PLATFORM]).fetchall()}


def are_plain(connection: psycopg.Connection[Any], row: dict[str, Any], legs: Sequence[Leg]) -> bool:
    """Return whether the database takes legs for those of figures, without building the figures' own."""
    text = orjson.dumps(row, default=str).decode()
    columns = [[getattr(leg, name) for leg in legs] for name in Leg.__dataclass_fields__]
    (found,) = connection.execute(ARE_PLAIN.encode(), [text, PLATFORM, *columns]).fetchone() or (None,)
    assert isinstance(found, bool)
    return found


def row_of(amounts: TransactionAmounts, payer: Party, payee: Party, kind: TransactionKind) -> dict[str, Any]:
    """Return the columns of a transaction, as the application posts it."""
    return posting.transaction_row(amounts, payer, payee, kind=kind, order=None)


def _host(number: int, currency: str) -> Collective:
    return Collective(
        id=UUID(int=number), slug=f"c{number}", name="", type=CollectiveType.NONPROFIT, currency=currency
    )


def way_of(moved: Movement) -> str:
    """Return the direction of a movement."""
    if moved.payer.host is None:
        return "outside"
    if moved.payee.host is None:
        return "payout"
    return "inside" if moved.payer.host.id == moved.payee.host.id else "cross"


CHANGES: dict[str, Callable[[Leg], Leg]] = {
    "amount": lambda leg: replace(leg, amount_minor=leg.amount_minor + 1),
    "kind": lambda leg: replace(leg, kind=LedgerAccountKind.EXCHANGE),
    "owner": lambda leg: replace(leg, owner_id=UUID(int=99)),
    "book": lambda leg: replace(leg, book_id=UUID(int=99)),
    "currency": lambda leg: replace(leg, currency="CHF"),
}


@many
@given(movements(), st.data())
def test_plain_legs_are_those_of_one_book_and_currency_and_no_others(
    connection: psycopg.Connection[Any], moved: Movement, data: st.DataObject
) -> None:
    amounts = moved.figures()
    row = row_of(amounts, moved.payer, moved.payee, TransactionKind.TRANSFER)
    legs = sorted(moved.legs(amounts))
    is_plain = len({(leg.book_id, leg.currency) for leg in legs}) == 1
    assert are_plain(connection, row, legs) <= is_plain
    if way_of(moved) != "cross" and is_plain and amounts.currency == amounts.host_currency:
        assert are_plain(connection, row, legs)
    place = data.draw(st.integers(0, len(legs) - 1))
    change = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))]
    wrong = [change(leg) if i == place else leg for i, leg in enumerate(legs)]
    for given_legs in (wrong, legs[:place] + legs[place + 1 :], [*legs, legs[place]], [], legs[::-1]):
        if given_legs != legs:
            assert not are_plain(connection, row, given_legs)


@many
@given(movements(), st.data())
def test_the_legs_of_a_movement(
    connection: psycopg.Connection[Any], moved: Movement, data: st.DataObject
) -> None:
    kind = TransactionKind(data.draw(st.sampled_from(KINDS[way_of(moved)])))
    amounts = moved.figures()
    row = row_of(amounts, moved.payer, moved.payee, kind)
    assert legs_in_sql(connection, row, kind) == set(moved.legs(amounts))


@many
@given(movements(), st.data())
def test_the_legs_of_a_refund_in_two_parts(
    connection: psycopg.Connection[Any], moved: Movement, data: st.DataObject
) -> None:
    amounts = moved.figures()
    original = stored(amounts, moved)
    left = refund_amounts.remaining_amounts(original, [])
    by_host = refund_amounts.is_host_receiver((moved.payer, moved.payee))
    part = data.draw(st.integers(1, left["amount"]))
    taken = refund_amounts.split_amounts(left, part, original, host_pays_itself=by_host)
    mirrored = {replace(leg, amount_minor=-leg.amount_minor) for leg in moved.legs(taken)}
    negated = refund_amounts.negate_amounts(taken)
    row = row_of(negated, moved.payer, moved.payee, TransactionKind.REFUND)
    assert legs_in_sql(connection, row, data.draw(st.sampled_from(KINDS[way_of(moved)]))) == mirrored


@many
@given(movements())
def test_the_database_accepts_every_figure_that_python_computes(
    connection: psycopg.Connection[Any], moved: Movement
) -> None:
    row = row_of(moved.figures(), moved.payer, moved.payee, TransactionKind.DONATION)
    connection.execute(FIGURES.encode(), [orjson.dumps(row, default=str).decode()])


WRONG = ("gross", "from_host_amount", "from_collective_amount", "to_collective_amount")


@many
@given(movements(), st.sampled_from(WRONG), st.integers(2, 10**6), st.sampled_from([1, -1]))
def test_the_database_refuses_another_figure(
    connection: psycopg.Connection[Any], moved: Movement, name: str, by: int, sign: int
) -> None:
    amounts = moved.figures()
    row = row_of(amounts, moved.payer, moved.payee, TransactionKind.DONATION)
    if row[name] is None:
        return
    # Where nothing is converted, the sum of the parts decides what is left.
    is_unconverted = moved.payee.host is None or row["currency"] == row["host_currency"]
    if name == "to_collective_amount" and is_unconverted:
        return
    if by == amounts.payment_processor_fee_minor:
        return  # the fee of a payout may be paid on top of the amount, or out of it
    row[name] += sign * by
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        connection.execute(FIGURES.encode(), [orjson.dumps(row, default=str).decode()])
    assert caught.value.diag.constraint_name == "transaction_figures"


@many
@given(
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.sampled_from(["USD", "EUR"]),
    st.sampled_from([TransactionKind.SETTLEMENT, TransactionKind.PLATFORM_FEE_SETTLEMENT]),
)
def test_the_legs_of_a_settlement(
    connection: psycopg.Connection[Any], amount: int, paid: int, code: str, kind: TransactionKind
) -> None:
    debtor = _host(2, "USD")
    is_fee = kind == TransactionKind.PLATFORM_FEE_SETTLEMENT
    creditor = _host(PLATFORM.int if is_fee else 3, code)
    paid_minor = amount if code == debtor.currency else paid
    amounts = settlement_amounts(amount, code, paid_minor=paid_minor, paid_currency=debtor.currency)
    row = row_of(amounts, Party(debtor, debtor), Party(creditor, creditor), kind)
    assert legs_in_sql(connection, row, kind) == set(settlement_legs(amounts, debtor, creditor, kind=kind))


@pytest.mark.parametrize("kind", ["HOURS", "BONUS", "REDEMPTION", "TRANSFER"])
def test_the_legs_of_currents(connection: psycopg.Connection[Any], kind: str) -> None:
    issues = kind in {"HOURS", "BONUS"}
    giver, taker = (_host(number, "USD") for number in (2, 3))
    book = currents_book(PLATFORM)
    amounts = same_currency_amounts(1_250, CURRENTS)
    row = row_of(amounts, Party(giver, book, CURRENTS), Party(taker, book, CURRENTS), TransactionKind(kind))
    legs = currents_legs(
        book_id=PLATFORM,
        from_id=giver.id,
        to_id=taker.id,
        amount_minor=1_250,
        kind_from=LedgerAccountKind.ISSUANCE if issues else LedgerAccountKind.BALANCE,
    )
    assert legs_in_sql(connection, row, kind) == set(legs)


def test_every_kind_is_tried() -> None:
    """A new kind of transaction has its legs in both languages, and is in this file."""
    tried = {kind for kinds in KINDS.values() for kind in kinds}
    tried |= {"HOURS", "BONUS", "REDEMPTION", "REFUND", "SETTLEMENT", "PLATFORM_FEE_SETTLEMENT"}
    like_a_movement = {
        "REDEMPTION_PAYOUT",
        "PAYMENT_PROCESSOR_COVER",
        "OPENING_BALANCE",
        "PREPAID_PAYMENT_METHOD",
        "HOST_FEE_SHARE",
        "HOST_FEE_SHARE_DEBT",
        "PAYMENT_PROCESSOR_FEE",
        "DISPUTE_COVER",
        "DISPUTE_FEE",
    }
    assert tried | like_a_movement == {str(kind) for kind in TransactionKind}
