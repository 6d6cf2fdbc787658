"""The arithmetic of docs/ledger.md once more, in fractions; nothing here is the ledger's own code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

EXPONENT = {"USD": 2, "EUR": 2, "JPY": 0, "CUR": 3}
Key = tuple[str, str, str, str]
"""An account: the slugs of book and owner, the currency, the kind."""
FIGURES = (
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


@dataclass(frozen=True)
class Side:
    """Payer or payee: its slug, the currency of its balance, and its host, "" for none."""

    slug: str
    currency: str
    host: str = ""
    host_currency: str = ""


@dataclass(frozen=True)
class Fees:
    """Fees of a movement; `payout` is in minor units of the paying host's currency."""

    processor_bps: int = 0
    processor_fixed: int = 0
    platform_bps: int = 0
    host_bps: int = 0
    payout: int = 0
    payer_bears_payout: bool = True


@dataclass
class Movement:
    """What a transaction should be: figures in minor units, and the legs that follow."""

    kind: str
    payer: Side
    payee: Side
    currency: str
    host_currency: str
    figures: dict[str, int | None] = field(default_factory=dict)

    def figure(self, name: str) -> int:
        """Return a figure; zero if there is none."""
        return self.figures[name] or 0


def half_away(value: Fraction) -> int:
    """Round to a whole number, half away from zero."""
    whole = (abs(value) + Fraction(1, 2)).__floor__()
    return whole if value >= 0 else -whole


def convert(amount_minor: Fraction | int, rate: Fraction, source: str, target: str) -> int:
    """Convert minor units at a rate between major units."""
    return half_away(Fraction(amount_minor) * rate * Fraction(10) ** (EXPONENT[target] - EXPONENT[source]))


def bps_of(amount_minor: int, bps: int) -> int:
    """Return ten-thousandths of an amount."""
    return half_away(Fraction(amount_minor * bps, 10_000))


def applicable(fees: Fees, payer: Side, payee: Side, *, platform: str) -> Fees:
    """Return the fees that apply: none inside a host, no host fee for the host, only a payout's outside."""
    if not payee.host:
        return Fees(payout=fees.payout, payer_bears_payout=fees.payer_bears_payout)
    if payee.host == payer.host:
        return Fees()
    return Fees(
        fees.processor_bps,
        fees.processor_fixed,
        0 if payee.slug == platform else fees.platform_bps,
        0 if payee.slug == payee.host else fees.host_bps,
    )


def movement(
    kind: str,
    amount_minor: int,
    currency: str,
    sides: tuple[Side, Side],
    fees: Fees,
    rates: dict[str, Fraction],
) -> Movement:
    """Compute the figures; `rates` convert the currency into any other that is needed."""
    payer, payee = sides
    host_currency = payee.host_currency or payer.host_currency
    rate = rates[host_currency]
    borne = fees.payout if fees.payer_bears_payout else 0
    gross = convert(amount_minor, rate, currency, host_currency) + borne
    processor = bps_of(gross, fees.processor_bps) + fees.processor_fixed + fees.payout
    platform, host = bps_of(gross, fees.platform_bps), bps_of(gross, fees.host_bps)
    taken = processor + platform + host - borne
    result = Movement(kind, payer, payee, currency, host_currency)
    result.figures = {
        "amount": amount_minor,
        "gross": gross,
        "payment_processor_fee": processor,
        "platform_fee": platform,
        "host_fee": host,
        "to_host_amount": gross - processor - platform,
        "to_collective_amount": amount_minor - convert(taken, 1 / rate, host_currency, currency),
        "from_host_amount": None,
        "from_collective_amount": None,
    }
    if payer.host:
        by_host, by_own = rates[payer.host_currency], rates[payer.currency]
        own_fee = convert(borne, by_own / by_host, payer.host_currency, payer.currency)
        result.figures["from_host_amount"] = -(
            convert(amount_minor, by_host, currency, payer.host_currency) + borne
        )
        result.figures["from_collective_amount"] = -(
            convert(amount_minor, by_own, currency, payer.currency) + own_fee
        )
    return result


def plain_movement(kind: str, amount_minor: int, currency: str, payer: Side, payee: Side) -> Movement:
    """Return a movement without fees and rates."""
    return movement(kind, amount_minor, currency, (payer, payee), Fees(), {currency: Fraction(1)})


def legs(move: Movement, *, platform: str) -> Counter[Key]:
    """Return what each account gains by a movement, without zeros."""
    out: Counter[Key] = Counter()
    payer, payee, book = move.payer, move.payee, move.payee.host
    if move.kind in {"HOURS", "BONUS"}:
        out[book, payer.slug, move.currency, "ISSUANCE"] -= move.figure("amount")
        out[book, payee.slug, move.currency, "BALANCE"] += move.figure("amount")
    elif move.kind == "SETTLEMENT":
        _settle(out, move)
    elif move.kind == "PLATFORM_FEE_SETTLEMENT":
        paid, got = move.figure("from_host_amount"), move.figure("amount")
        out[payer.slug, platform, payer.currency, "BALANCE"] += paid
        out[payer.slug, payer.slug, payer.currency, "CASH"] -= paid
        out[book, platform, move.currency, "BALANCE"] += got
        out[book, book, move.currency, "CASH"] -= got
    else:
        if payer.host:
            _give(out, move)
        if payee.host:
            _receive(out, move, platform=platform)
    return Counter({key: amount for key, amount in out.items() if amount})


def _settle(out: Counter[Key], move: Movement) -> None:
    debtor, creditor, currency = move.payer.slug, move.payee.slug, move.currency
    paid_in, paid, amount = move.payer.currency, move.figure("from_host_amount"), move.figure("amount")
    out[debtor, creditor, currency, "CLEARING"] -= amount
    out[debtor, debtor, paid_in, "CASH"] -= paid
    if paid_in != currency:
        out[debtor, debtor, currency, "EXCHANGE"] += amount
        out[debtor, debtor, paid_in, "EXCHANGE"] += paid
    out[creditor, debtor, currency, "CLEARING"] += amount
    out[creditor, creditor, currency, "CASH"] -= amount


def _give(out: Counter[Key], move: Movement) -> None:
    """Take from the payer's balance; its host pays cash, owes another host, or nothing inside one book."""
    payer, book, own = move.payer, move.payer.host, move.figure("from_collective_amount")
    currency, paid = payer.host_currency, -move.figure("from_host_amount")
    out[book, payer.slug, payer.currency, "BALANCE"] += own
    if not move.payee.host:
        out[book, book, currency, "CASH"] += paid
    elif move.payee.host != book:
        currency, paid = move.host_currency, move.figure("gross")
        out[book, move.payee.host, currency, "CLEARING"] += paid
    if currency != payer.currency:
        out[book, book, payer.currency, "EXCHANGE"] -= own
        out[book, book, currency, "EXCHANGE"] -= paid


def _receive(out: Counter[Key], move: Movement, *, platform: str) -> None:
    """Give the payee its money, the platform and the host their fees, from cash or another host's debt."""
    payee, book, currency = move.payee, move.payee.host, move.host_currency
    processor, gross = move.figure("payment_processor_fee"), move.figure("gross")
    fees = move.figure("platform_fee") + move.figure("host_fee")
    net = gross - processor - fees
    if move.payer.host == book:
        net = -move.figure("from_host_amount") - fees
    elif move.payer.host:
        out[book, move.payer.host, currency, "CLEARING"] -= gross
        out[book, book, currency, "CASH"] += processor
    else:
        out[book, book, currency, "CASH"] += processor - gross
    out[book, platform, currency, "BALANCE"] += move.figure("platform_fee")
    out[book, book, currency, "BALANCE"] += move.figure("host_fee")
    arrived = move.figure("to_collective_amount")
    out[book, payee.slug, move.currency, "BALANCE"] += arrived
    if move.currency != currency:
        out[book, book, currency, "EXCHANGE"] += net
        out[book, book, move.currency, "EXCHANGE"] -= arrived


def refund_part(original: Movement, earlier: Sequence[Movement], part_minor: int) -> Movement:
    """Return the negated part of what earlier refunds left of a movement."""
    left = {name: original.figure(name) + sum(one.figure(name) for one in earlier) for name in FIGURES}
    whole = left["amount"]
    parts = [
        left["payment_processor_fee"],
        left["platform_fee"],
        left["host_fee"],
        left["to_host_amount"] - left["host_fee"],
    ]
    if original.payee.host and original.payee.slug == original.payee.host:
        parts = [0, parts[1], parts[2], parts[3] + parts[0]]
    gross = half_away(Fraction(sum(parts) * part_minor, whole))
    processor, platform, host, net = split(gross, parts)

    def share(name: str) -> int:
        return half_away(Fraction(left[name] * part_minor, whole))

    arrived = net if original.currency == original.host_currency else share("to_collective_amount")
    figures: dict[str, int | None] = {
        "amount": -part_minor,
        "gross": -gross,
        "payment_processor_fee": -processor,
        "platform_fee": -platform,
        "host_fee": -host,
        "to_host_amount": -(net + host),
        "to_collective_amount": -arrived,
        "from_host_amount": -share("from_host_amount") if original.payer.host else None,
        "from_collective_amount": -share("from_collective_amount") if original.payer.host else None,
    }
    return Movement(
        original.kind, original.payer, original.payee, original.currency, original.host_currency, figures
    )


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split by largest remainder; ties go to the first."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    exact = [Fraction(total * weight, whole) for weight in weights]
    parts = [value.__floor__() for value in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts
