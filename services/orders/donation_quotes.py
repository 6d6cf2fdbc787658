"""What a donation would come to, before it is made."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models import new_id
from models.enums import OrderType, PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, resolve
from services.collectives import platform_policy
from services.core.errors import Invalid
from services.core.money import Money, UncheckedAmount
from services.core.party import OUTSIDE, Party
from services.ledger import exchange_rates
from services.ledger.transaction_amounts import CURRENTS, TransactionAmounts
from services.orders import payment_methods, tier_choices, tips
from services.orders.contribution_decision import build_order, require_hosted
from services.orders.method_names import MethodName
from services.orders.settling import compute_figures
from services.orders.sides import FROM_OUTSIDE, order_sides


@dataclass(frozen=True)
class DonationQuote:
    """The figures that a donation would post now, and since when its rate is in force."""

    figures: TransactionAmounts
    rate_valid_from: datetime | None
    tip: TransactionAmounts | None
    platform_tip: Money
    """The tip to the platform, in the payee's currency."""

    @property
    def amount(self) -> Money:
        """What the giver gives, in the payee's currency."""
        return Money(self.figures.amount_minor, self.figures.currency)

    @property
    def total(self) -> Money:
        """What the giver pays: the amount and the tip, in the payee's currency."""
        return Money(self.figures.amount_minor + self.platform_tip.minor_units, self.figures.currency)

    @property
    def net(self) -> Money:
        """What arrives on the payee's balance."""
        return Money(self.figures.to_collective_amount_minor, self.figures.currency)

    @property
    def debited(self) -> Money | None:
        """What the giver's balance pays, in its currency, with the tip; None for money from outside."""
        minor, currency = self.figures.from_collective_amount_minor, self.figures.from_collective_currency
        tip_minor = (self.tip.from_collective_amount_minor or 0) if self.tip else 0
        return None if minor is None or currency is None else Money(-minor - tip_minor, currency)

    def in_host_currency(self, minor: int) -> Money:
        """Return a figure of the receiving host."""
        return Money(minor, self.figures.host_currency)


async def quote(
    session: AsyncSession,
    actor: Actor,
    *,
    from_: CollectiveKey | None,
    to: CollectiveKey,
    amount: UncheckedAmount | None,
    tier_id: UUID | None = None,
    quantity: int | None = None,
    payment_method: MethodName | str | None = None,
    tip: UncheckedAmount | None = None,
) -> DonationQuote:
    """Compute what a donation would post now. Without `from_`, the money comes from outside.

    Nothing of it depends on who asks, or on whether the giver has the money.

    Raises:
        Invalid and others: as `donations.donate`.
    """
    parties = await resolve(session, actor, {"to": to} | ({"from": from_} if from_ else {}))
    payee, payer = parties["to"], parties.get("from")
    choice = await tier_choices.choose(session, actor, payee, tier_id=tier_id, quantity=quantity)
    amount = tier_choices.amount_of(choice, amount)
    kind, method = await payment_methods.resolve_payment_method(
        session, named_as=payment_method, to_host=payee.host
    )
    if amount.currency == CURRENTS and (method or kind is not PaymentMethodKind.BALANCE):
        raise Invalid("Currents can only be paid from a balance.", field="paymentMethod")
    require_hosted(payee, "to", amount.currency)
    if payer is not None and kind not in FROM_OUTSIDE:
        require_hosted(payer, "from", amount.currency)
    policy = await platform_policy.load_policy(session)
    platform_id = await platform_policy.load_platform_id(session)
    order = build_order(
        replace(actor, platform_fee_bps=policy.platform_fee_bps),
        OrderType.DONATION if payer else OrderType.ADDED_FUNDS,
        payer or Party(payee.host),
        payee,
        amount,
        order_id=new_id(),
        description=None,
    )
    order.payment_method_kind, order.origin_unknown = kind, payer is None
    tips.add(order, tip, (payer or payee, payee))
    sides = order_sides(order, payer or OUTSIDE, payee, platform_id=platform_id, payment_method=method)
    figures = await compute_figures(session, sides, platform_id=platform_id)
    pair = (figures.own.currency, figures.own.host_currency)
    rate = (await exchange_rates.load_quotes(session, [pair]))[pair]
    return DonationQuote(figures.own, rate.valid_from, figures.tip, Money(order.tip or 0, order.currency))
