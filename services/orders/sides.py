"""The payer and the payee of an order."""

from dataclasses import dataclass, replace
from uuid import UUID

from models import Order, PaymentMethod, Redemption
from models.enums import (
    CollectiveType,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
)
from services.access.collective_refs import require_collective, require_open
from services.core.errors import Invalid, InvalidState
from services.core.party import Party
from services.ledger import transaction_amounts

FROM_OUTSIDE = frozenset({PaymentMethodKind.MANUAL, PaymentMethodKind.PROVIDER})
"""Ways of paying whose money comes from outside the ledger, whatever the giver has in it."""


@dataclass(frozen=True)
class OrderSides:
    """An order with the parties that settle it: one without a host pays or is paid outside the ledger."""

    order: Order
    payer: Party
    payee: Party
    payment_method: PaymentMethod | None = None
    interest: "Interest | None" = None
    """The actor's interest in the order, if it was read with it."""
    redemption: Redemption | None = None
    """The dollar side of a redemption, if the order is one."""


@dataclass(frozen=True)
class Interest:
    """What keeps a person from approving an order, alone or at all."""

    is_excluded: bool
    """True if the person has an interest in it, now or since it was made."""
    single_limit: int | None
    """The largest amount that one person may approve, in minor units of the order's currency."""


def order_sides(
    order: Order,
    payer: Party,
    payee: Party,
    *,
    platform_id: UUID | None,
    payment_method: PaymentMethod | None = None,
) -> OrderSides:
    """Return the order with the parties that settle it; currents are in the platform's book."""
    if order.currency == transaction_amounts.CURRENTS and platform_id is not None:
        book = transaction_amounts.currents_book(platform_id)
        return OrderSides(
            order,
            Party(payer.collective, book, order.currency),
            Party(payee.collective, book, order.currency),
            payment_method,
        )
    from_outside = order.type == OrderType.ADDED_FUNDS or (
        order.type == OrderType.DONATION and order.payment_method_kind in FROM_OUTSIDE
    )
    if order.type == OrderType.CASH_OUT:
        payer = replace(payer, balance_currency=order.currency)
    to_outside = order.type == OrderType.CASH_OUT or (
        order.type == OrderType.EXPENSE and order.payout_method_kind != PayoutMethodKind.BALANCE
    )
    if (
        order.type == OrderType.EXPENSE
        and payee.collective is not None
        and payee.collective.type == CollectiveType.USER
    ):
        payee = replace(payee, balance_currency=order.currency)  # a user has a balance in each currency
    origin = None if order.origin_unknown else payer.collective
    return OrderSides(
        order,
        Party(origin) if from_outside else payer,
        Party(payee.collective) if to_outside else payee,
        payment_method,
    )


def require_valid_sides(payer: Party, payee: Party, *, same_allowed: bool = False) -> None:
    """Require two different collectives that are open and can hold money.

    Raises:
        Invalid: they are the same, or one is an event.
        InvalidState: one is archived.
    """
    for party, name in ((payer, "from"), (payee, "to")):
        collective = require_collective(party)
        require_open(collective, field=name)
        if collective.type == CollectiveType.EVENT:
            raise Invalid("An event holds no money. Choose its parent.", field=name)
    if require_collective(payer).id == require_collective(payee).id and not same_allowed:
        raise Invalid("Payer and payee must be different.", field="to")


def require_open_book(party: Party, *, field: str) -> None:
    """Require that the host behind a balance takes new money.

    Raises:
        InvalidState: the host is suspended.
    """
    if party.host is not None and party.host.host_suspended_at is not None:
        raise InvalidState(f"{party.host.slug} is suspended as a host and takes no new money.", field=field)


def receiving_fee_bps(payee: Party) -> int:
    """Return the host fee for money that the payee receives: its own rate, or its host's."""
    own_bps = require_collective(payee).host_fee_bps
    host_bps = payee.host.host_fee_bps if payee.host else None
    return own_bps if own_bps is not None else host_bps or 0


def has_public_side(payer: Party, payee: Party) -> bool:
    """True if at least one side is not a user."""
    return any(require_collective(p).type != CollectiveType.USER for p in (payer, payee))
