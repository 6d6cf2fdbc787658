"""Laws of the arithmetic, for any amount, rate, fee, currency and way that money takes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from models import Collective, Transaction
from models.enums import CollectiveType, FeesPayer, LedgerAccountKind, TransactionKind
from services.core.errors import AmountTooSmall, Invalid
from services.core.money import allocate, convert, round_half_away, share
from services.core.party import Party
from services.ledger import transaction_amounts
from services.ledger.exchange_rates import Quote
from services.ledger.transaction_amounts import Figures, Leg, Terms
from services.orders import refunds

PLATFORM = UUID(int=1)
CURRENCIES = ("JPY", "KWD", "USD", "EUR")
SUMMED = (
    "amount",
    "gross",
    "payment_processor_fee",
    "platform_fee",
    "host_fee",
    "to_host_amount",
    "to_collective_amount",
    "from_host_amount",
    "from_collective_amount",
)

currency = st.sampled_from(CURRENCIES)
amounts = st.one_of(st.integers(1, 300), st.integers(1, 10**15))
rates = st.decimals(Decimal("0.0001"), Decimal(10_000), places=6).filter(lambda d: d > 0)


def _collective(number: int, code: str) -> Collective:
    return Collective(
        id=UUID(int=number),
        slug=f"c{number}",
        name="",
        type=CollectiveType.NONPROFIT,
        currency=code,
    )


@dataclass(frozen=True)
class Movement:
    """An amount on its way, with all that decides its figures."""

    amount: int
    currency: str
    payer: Party
    payee: Party
    terms: Terms
    quotes: dict[tuple[str, str], Quote]

    def figures(self) -> Figures:
        """Compute the figures; discard an example that is refused."""
        try:
            return transaction_amounts.figures(
                self.amount,
                self.currency,
                self.payer,
                self.payee,
                terms=self.terms,
                quotes=self.quotes,
            )
        except (AmountTooSmall, Invalid):
            assume(condition=False)
            raise

    def legs(self, found: Figures) -> list[Leg]:
        """Return the legs of figures."""
        return transaction_amounts.legs(found, self.payer, self.payee, platform_id=PLATFORM)


@st.composite
def movements(draw: st.DrawFn, ways: Sequence[str] = ("outside", "cross", "inside", "payout")) -> Movement:
    """Draw a movement: from outside, between hosts, inside one, or to outside."""
    way = draw(st.sampled_from(ways))
    hosts = [_collective(10, draw(currency)), _collective(20, draw(currency))]
    if way == "inside":
        hosts[1] = hosts[0]
    giver = draw(st.sampled_from([hosts[0], _collective(11, draw(currency))]))
    taker = draw(
        st.sampled_from([hosts[1], _collective(21, draw(currency)), _collective(1, hosts[1].currency)])
    )
    assume(giver.id != taker.id)
    payer = Party(giver, hosts[0] if way != "outside" else None)
    payee = Party(taker, hosts[1] if way != "payout" else None)
    code = taker.currency
    terms = Terms(
        processor_bps=draw(st.integers(0, 3000)),
        processor_fixed_minor=draw(st.integers(0, 500)),
        platform_bps=draw(st.integers(0, 3000)),
        host_bps=draw(st.integers(0, 3000)),
        payout_fee_minor=draw(st.integers(0, 500)),
        fees_payer=draw(st.sampled_from(FeesPayer)),
    )
    quotes = {
        pair: Quote(*pair, Decimal(1) if pair[0] == pair[1] else draw(rates), None, None, "")
        for pair in dict.fromkeys(transaction_amounts.pairs(code, payer, payee))
    }
    return Movement(
        draw(amounts),
        code,
        payer,
        payee,
        transaction_amounts.fees_of(terms, payer, payee, platform_id=PLATFORM),
        quotes,
    )


def _sums(legs: list[Leg]) -> dict[tuple[UUID, str], int]:
    sums: dict[tuple[UUID, str], int] = defaultdict(int)
    for leg in legs:
        sums[leg.book_id, leg.currency] += leg.amount
    return sums


def _check_row(found: Figures, *, sign: int) -> None:
    """Assert what the table's own constraints demand."""
    assert found.to_host_amount == found.gross - found.payment_processor_fee - found.platform_fee
    if found.currency == found.host_currency:
        assert found.to_collective_amount == found.to_host_amount - found.host_fee
    assert found.amount * sign > 0
    for name in ("payment_processor_fee", "platform_fee", "host_fee", "to_collective_amount"):
        assert getattr(found, name) * sign >= 0


@given(movements())
def test_the_legs_sum_to_zero_in_every_book_and_currency(moved: Movement) -> None:
    legs = moved.legs(moved.figures())

    assert legs
    assert set(_sums(legs).values()) == {0}
    keys = [(leg.book_id, leg.owner_id, leg.currency, leg.kind) for leg in legs]
    assert keys == sorted(set(keys))
    assert all(leg.amount for leg in legs)


@given(movements())
def test_the_figures_keep_the_tables_constraints(moved: Movement) -> None:
    found = moved.figures()

    _check_row(found, sign=1)
    assert found.to_collective_amount > 0
    assert (found.from_host_amount is None) == (moved.payer.host is None)
    if found.from_host_amount is not None:
        assert found.from_collective_amount is not None
        assert max(found.from_host_amount, found.from_collective_amount) < 0


@given(movements())
def test_the_balances_move_by_the_figures(moved: Movement) -> None:
    found = moved.figures()
    taken = {
        (leg.book_id, leg.owner_id): leg.amount
        for leg in moved.legs(found)
        if leg.kind == LedgerAccountKind.BALANCE
    }
    fees = PLATFORM, moved.payee.host and moved.payee.host.id
    for party, amount in (
        (moved.payer, found.from_collective_amount),
        (moved.payee, found.to_collective_amount),
    ):
        if party.host is not None and party.collective and party.collective.id not in fees:
            assert taken[party.host.id, party.collective.id] == amount


@given(movements(ways=("inside",)))
def test_inside_one_host_no_cash_moves_and_no_fee_is_taken(moved: Movement) -> None:
    found = moved.figures()

    assert (found.payment_processor_fee, found.platform_fee, found.host_fee) == (0, 0, 0)
    assert all(leg.kind != LedgerAccountKind.CASH for leg in moved.legs(found))
    assert moved.payer.collective is not None
    if moved.payer.collective.currency == moved.currency:
        assert found.to_collective_amount == moved.amount
        assert found.from_collective_amount == -moved.amount


@given(movements(ways=("payout",)))
def test_who_bears_a_payouts_fee_pays_exactly_that(moved: Movement) -> None:
    fee = moved.terms.payout_fee_minor
    free = replace(moved, terms=Terms()).figures()
    found = moved.figures()

    assert found.payment_processor_fee == fee
    assert (found.platform_fee, found.host_fee) == (0, 0)
    assert found.from_host_amount is not None
    assert free.from_host_amount is not None
    if moved.terms.fees_payer is FeesPayer.PAYER:
        assert found.from_host_amount == free.from_host_amount - fee
        assert found.to_host_amount == free.to_host_amount
    else:
        assert found.from_host_amount == free.from_host_amount
        assert found.from_collective_amount == free.from_collective_amount
        assert found.to_host_amount == free.to_host_amount - fee


@given(movements(), st.data())
def test_refunds_in_parts_add_up_to_the_whole(moved: Movement, data: st.DataObject) -> None:
    found = moved.figures()
    original = _stored(found, moved)
    sides = (moved.payer, moved.payee)
    by_host = refunds._host_is_receiver(sides)
    earlier: list[Transaction] = []
    lines: list[Leg] = []
    while True:
        left = refunds._left(original, earlier)
        rest = left["amount"]
        if rest == 0:
            break
        part = rest if len(earlier) > 5 else data.draw(st.integers(1, rest))
        taken = refunds._part(left, part, original, host_pays_itself=by_host)
        negated = refunds._negated(taken)
        _check_row(negated, sign=-1)
        legs = moved.legs(taken)
        assert set(_sums(legs).values()) <= {0}
        lines += [replace(leg, amount=-leg.amount) for leg in legs]
        earlier.append(_stored(negated, moved, refund_of=original))

    rest_of = refunds._left(original, earlier)
    if by_host:
        # The host keeps the processor's fee within what it gives back: the two are one figure then.
        rest_of["to_host_amount"] += rest_of.pop("payment_processor_fee")
        rest_of["to_collective_amount"] = rest_of["to_host_amount"]
    assert set(rest_of.values()) == {0}
    balances = [
        leg
        for leg in transaction_amounts.merged([*moved.legs(found), *lines])
        if leg.kind != LedgerAccountKind.CASH and leg.owner_id != _receiving_host(moved)
    ]
    assert balances == []


def _stored(found: Figures, moved: Movement, *, refund_of: Transaction | None = None) -> Transaction:
    values: dict[str, Any] = asdict(found)
    return Transaction(
        **values,
        kind=TransactionKind.REFUND if refund_of else TransactionKind.DONATION,
        from_host_id=moved.payer.host.id if moved.payer.host else None,
        to_host_id=moved.payee.host.id if moved.payee.host else None,
    )


def _receiving_host(moved: Movement) -> UUID | None:
    host = moved.payee.host or moved.payer.host
    return host.id if host else None


@given(st.lists(st.integers(0, 10**15), max_size=8), st.data())
def test_an_allocation_loses_nothing(weights: list[int], data: st.DataObject) -> None:
    whole = sum(weights)
    total = data.draw(st.integers(0, whole))
    parts = allocate(total, weights)

    assert len(parts) == len(weights)
    assert sum(parts) == (total if whole else 0)
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part <= weight
        assert whole == 0 or abs(part * whole - total * weight) < whole
    assert parts == allocate(total, weights)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.data())
def test_a_greater_weight_never_gets_less(weights: list[int], data: st.DataObject) -> None:
    parts = allocate(data.draw(st.integers(0, sum(weights))), weights)
    by_weight = sorted(zip(weights, parts, strict=True))

    assert all(a[1] <= b[1] for a, b in pairwise(by_weight) if a[0] < b[0])


@given(st.integers(-(10**15), 10**15), st.integers(0, 10_000))
def test_a_share_is_rounded_half_away_from_zero(amount: int, bps: int) -> None:
    exact = abs(amount) * bps
    expected = (exact * 2 + 10_000) // 20_000

    assert share(amount, bps) == (expected if amount >= 0 else -expected)


@given(st.integers(-(10**15), 10**15), rates)
def test_rounding_is_within_half_a_unit_and_symmetric(amount: int, rate: Decimal) -> None:
    exact = Decimal(amount) * rate
    rounded = round_half_away(exact)

    assert abs(Decimal(rounded) - exact) <= Decimal("0.5")
    assert round_half_away(-exact) == -rounded


@given(amounts, currency, currency)
def test_a_rate_of_one_only_moves_the_point(amount: int, source: str, target: str) -> None:
    there = convert(amount, Decimal(1), source=source, target=target)

    if source == target:
        assert there == amount
    back = convert(there, Decimal(1), source=target, target=source)
    assert abs(back - amount) <= 10 ** max(0, _places(source) - _places(target))


def _places(code: str) -> int:
    return {"JPY": 0, "KWD": 3}.get(code, 2)
