"""Laws of the arithmetic for any amount, rate, fee, currency and route of money."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from models import Collective, Transaction
from models.enums import CollectiveType, FeesPayer, LedgerAccountKind, TransactionKind
from services.core.errors import AmountTooSmall, Invalid
from services.core.party import Party
from services.ledger import transaction_amounts
from services.ledger.exchange_rates import Quote
from services.ledger.legs import Leg, merge_legs, posting_legs
from services.ledger.transaction_amounts import FeeTerms, TransactionAmounts
from services.orders import refund_amounts

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
    """A movement of money with everything that determines its amounts."""

    amount: int
    currency: str
    payer: Party
    payee: Party
    terms: FeeTerms
    quotes: dict[tuple[str, str], Quote]

    def figures(self) -> TransactionAmounts:
        """Compute the amounts; discard an example that is refused."""
        try:
            return transaction_amounts.compute_amounts(
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

    def legs(self, computed: TransactionAmounts) -> list[Leg]:
        """Return the posting legs of amounts."""
        return posting_legs(computed, self.payer, self.payee, platform_id=PLATFORM)


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
    terms = FeeTerms(
        processor_bps=draw(st.integers(0, 3000)),
        processor_fixed_minor=draw(st.integers(0, 500)),
        platform_bps=draw(st.integers(0, 3000)),
        host_bps=draw(st.integers(0, 3000)),
        payout_fee_minor=draw(st.integers(0, 500)),
        fees_payer=draw(st.sampled_from(FeesPayer)),
    )
    quotes = {
        pair: Quote(*pair, Decimal(1) if pair[0] == pair[1] else draw(rates), None, None, "")
        for pair in dict.fromkeys(transaction_amounts.required_rates(code, payer, payee))
    }
    return Movement(
        draw(amounts),
        code,
        payer,
        payee,
        transaction_amounts.applicable_fees(terms, payer, payee, platform_id=PLATFORM),
        quotes,
    )


def _sums(legs: list[Leg]) -> dict[tuple[UUID, str], int]:
    sums: dict[tuple[UUID, str], int] = defaultdict(int)
    for leg in legs:
        sums[leg.book_id, leg.currency] += leg.amount_minor
    return sums


def _check_row(computed: TransactionAmounts, *, sign: int) -> None:
    """Assert the constraints of the table."""
    assert (
        computed.to_host_amount_minor
        == computed.gross_minor - computed.payment_processor_fee_minor - computed.platform_fee_minor
    )
    if computed.currency == computed.host_currency:
        assert computed.to_collective_amount_minor == computed.to_host_amount_minor - computed.host_fee_minor
    assert computed.amount_minor * sign > 0
    for name in ("payment_processor_fee", "platform_fee", "host_fee", "to_collective_amount"):
        assert computed.columns()[name] * sign >= 0


@given(movements())
def test_the_legs_sum_to_zero_in_every_book_and_currency(moved: Movement) -> None:
    legs = moved.legs(moved.figures())

    assert legs
    assert set(_sums(legs).values()) == {0}
    keys = [(leg.book_id, leg.owner_id, leg.currency, leg.kind) for leg in legs]
    assert keys == sorted(set(keys))
    assert all(leg.amount_minor for leg in legs)


@given(movements())
def test_the_amounts_satisfy_the_constraints_of_the_table(moved: Movement) -> None:
    result = moved.figures()

    _check_row(result, sign=1)
    assert result.to_collective_amount_minor > 0
    assert (result.from_host_amount_minor is None) == (moved.payer.host is None)
    if result.from_host_amount_minor is not None:
        assert result.from_collective_amount_minor is not None
        assert max(result.from_host_amount_minor, result.from_collective_amount_minor) < 0


@given(movements())
def test_the_balances_change_by_the_amounts(moved: Movement) -> None:
    result = moved.figures()
    taken = {
        (leg.book_id, leg.owner_id): leg.amount_minor
        for leg in moved.legs(result)
        if leg.kind == LedgerAccountKind.BALANCE
    }
    fees = PLATFORM, moved.payee.host and moved.payee.host.id
    for party, amount in (
        (moved.payer, result.from_collective_amount_minor),
        (moved.payee, result.to_collective_amount_minor),
    ):
        if party.host is not None and party.collective and party.collective.id not in fees:
            assert taken[party.host.id, party.collective.id] == amount


@given(movements(ways=("inside",)))
def test_within_one_host_no_cash_moves_and_no_fee_is_taken(moved: Movement) -> None:
    result = moved.figures()

    assert (result.payment_processor_fee_minor, result.platform_fee_minor, result.host_fee_minor) == (0, 0, 0)
    assert all(leg.kind != LedgerAccountKind.CASH for leg in moved.legs(result))
    assert moved.payer.collective is not None
    if moved.payer.collective.currency == moved.currency:
        assert result.to_collective_amount_minor == moved.amount
        assert result.from_collective_amount_minor == -moved.amount


@given(movements(ways=("payout",)))
def test_the_side_that_bears_a_payout_fee_pays_exactly_the_fee(moved: Movement) -> None:
    fee = moved.terms.payout_fee_minor
    free = replace(moved, terms=FeeTerms()).figures()
    result = moved.figures()

    assert result.payment_processor_fee_minor == fee
    assert (result.platform_fee_minor, result.host_fee_minor) == (0, 0)
    assert result.from_host_amount_minor is not None
    assert free.from_host_amount_minor is not None
    if moved.terms.fees_payer is FeesPayer.PAYER:
        assert result.from_host_amount_minor == free.from_host_amount_minor - fee
        assert result.to_host_amount_minor == free.to_host_amount_minor
    else:
        assert result.from_host_amount_minor == free.from_host_amount_minor
        assert result.from_collective_amount_minor == free.from_collective_amount_minor
        assert result.to_host_amount_minor == free.to_host_amount_minor - fee


@given(movements(), st.data())
def test_partial_refunds_add_up_to_the_whole(moved: Movement, data: st.DataObject) -> None:
    result = moved.figures()
    original = stored(result, moved)
    sides = (moved.payer, moved.payee)
    by_host = refund_amounts.is_host_receiver(sides)
    earlier: list[Transaction] = []
    lines: list[Leg] = []
    while True:
        left = refund_amounts.remaining_amounts(original, earlier)
        rest = left["amount"]
        if rest == 0:
            break
        part = rest if len(earlier) > 5 else data.draw(st.integers(1, rest))
        taken = refund_amounts.split_amounts(left, part, original, host_pays_itself=by_host)
        negated = refund_amounts.negate_amounts(taken)
        _check_row(negated, sign=-1)
        legs = moved.legs(taken)
        assert set(_sums(legs).values()) <= {0}
        lines += [replace(leg, amount_minor=-leg.amount_minor) for leg in legs]
        earlier.append(stored(negated, moved, refund_of=original))

    rest_of = refund_amounts.remaining_amounts(original, earlier)
    if by_host:
        # The host keeps the processor's fee within what it gives back: the two are one figure then.
        rest_of["to_host_amount"] += rest_of.pop("payment_processor_fee")
        rest_of["to_collective_amount"] = rest_of["to_host_amount"]
    assert set(rest_of.values()) == {0}
    balances = [
        leg
        for leg in merge_legs([*moved.legs(result), *lines])
        if leg.kind != LedgerAccountKind.CASH and leg.owner_id != _receiving_host(moved)
    ]
    assert balances == []


def stored(
    computed: TransactionAmounts, moved: Movement, *, refund_of: Transaction | None = None
) -> Transaction:
    return Transaction(
        **computed.columns(),
        kind=TransactionKind.REFUND if refund_of else TransactionKind.DONATION,
        from_host_id=moved.payer.host.id if moved.payer.host else None,
        to_host_id=moved.payee.host.id if moved.payee.host else None,
    )


def _receiving_host(moved: Movement) -> UUID | None:
    host = moved.payee.host or moved.payer.host
    return host.id if host else None
