"""The decisions on contributions: from the two sides to the order, without a database."""

from dataclasses import dataclass
from uuid import UUID

from models import Order
from models.enums import GiverStatus, OrderStatus, OrderType
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.access.permissions import Action, Subject, require
from services.collectives.collectives import WHOLE_BPS
from services.core import user_text
from services.core.errors import Invalid, InvalidState
from services.core.money import UncheckedAmount, to_minor
from services.core.party import Party
from services.ledger import transaction_amounts
from services.orders.sides import has_public_side, receiving_fee_bps, require_open_book, require_valid_sides
from services.round_trips.records import new_record


@dataclass(frozen=True, kw_only=True)
class AddedFunds:
    """Funds that a host says it received, unchecked."""

    amount: UncheckedAmount
    description: str | None = None
    host_fee_bps: int | None = None
    """The fee in place of the usual one."""


def decide_added_funds(
    actor: Actor, giver: Party | None, payee: Party, funds: AddedFunds, *, order_id: UUID
) -> Order:
    """Decide on funds that a host adds to a balance; without a giver, their origin is unknown.

    Raises:
        AccessDenied: the actor is no ADMIN of the payee's host.
        Invalid: a side, the amount or the fee.
        InvalidState: the payee has no host, a side is archived, or the host is suspended.
    """
    require(actor, Action.ADD_FUNDS, Subject(payee=payee.collective, payee_host=payee.host))
    require_hosted(payee, "to")
    order = build_order(
        actor,
        OrderType.ADDED_FUNDS,
        giver or Party(payee.host),
        payee,
        funds.amount,
        order_id=order_id,
        description=funds.description,
        host_fee_bps=funds.host_fee_bps,
    )
    if giver is None:
        hide_origin(order, payee)
    return order


def claim_origin(order: Order, payee: Party) -> None:
    """Let the giver of added funds confirm them: until then the payee's host stands for an unknown origin."""
    order.claimed_giver_id, order.giver_status = order.from_id, GiverStatus.WAITING
    order.from_id = require_collective(Party(payee.host)).id
    hide_origin(order, payee)


def decide_transfer(
    actor: Actor,
    payer: Party,
    payee: Party,
    amount: UncheckedAmount,
    *,
    order_id: UUID,
    description: str | None = None,
) -> Order:
    """Decide on a transfer from one balance to another.

    Raises:
        AccessDenied: the actor is no ADMIN of the payer.
        Invalid: a side or the amount.
        InvalidState: a side has no host or is archived, or the payee's host is suspended.
    """
    require(actor, Action.TRANSFER_FUNDS, Subject(payer=payer.collective, payee=payee.collective))
    require_hosted(payer, "from", amount.currency)
    return build_order(
        actor, OrderType.TRANSFER, payer, payee, amount, order_id=order_id, description=description
    )


def hide_origin(order: Order, payee: Party) -> None:
    """Mark the origin of an order as unknown: the host that stands for it is then no side of the order."""
    order.origin_unknown = True
    order.has_public_side = has_public_side(payee, payee)


def build_order(
    actor: Actor,
    kind: OrderType,
    payer: Party,
    payee: Party,
    amount: UncheckedAmount,
    *,
    order_id: UUID,
    description: str | None,
    private_message: str | None = None,
    host_fee_bps: int | None = None,
) -> Order:
    """Build an order for a hosted payee, with the present fees."""
    require_valid_sides(payer, payee, same_allowed=kind == OrderType.ADDED_FUNDS)
    to = require_collective(payee)
    in_currents = amount.currency == transaction_amounts.CURRENTS and kind in {
        OrderType.DONATION,
        OrderType.TRANSFER,
    }
    currency = transaction_amounts.CURRENTS if in_currents else to.currency
    require_hosted(payee, "to", currency)
    if not in_currents:
        require_open_book(payee, field="to")
    amount_minor = to_minor(amount, field="amount", currency=currency)
    if host_fee_bps is not None and not 0 <= host_fee_bps <= WHOLE_BPS:
        raise Invalid("Enter a fee from 0 to 10000 basis points.", field="hostFeeBps")
    return new_record(
        Order,
        id=order_id,
        type=kind,
        status=OrderStatus.PENDING,
        created_by_id=actor.id,
        from_id=require_collective(payer).id,
        to_id=to.id,
        currency=currency,
        amount=amount_minor,
        description=user_text.clean_text(description, field="description"),
        private_message=user_text.clean_text(private_message, field="privateMessage"),
        host_fee_bps=receiving_fee_bps(payee) if host_fee_bps is None else host_fee_bps,
        platform_fee_bps=actor.platform_fee_bps,
        has_public_side=has_public_side(payer, payee),
    )


def require_hosted(party: Party, name: str, currency: str | None = None) -> None:
    """Require that a host holds the party's money; currents are always in the platform's book."""
    if party.host is None and currency != transaction_amounts.CURRENTS:
        raise InvalidState(f"{require_collective(party).slug} has no host that holds its money.", field=name)
