"""Gifts of people without an account."""

from typing import Any

import strawberry

import models
from resolvers import guests
from resolvers.context import Info
from resolvers.orders import load_handover
from schema.mutations.orders import DonatePayload
from schema.mutations.payload import MoneyInput, answer_payload, key_payload
from schema.types.money import AmountInput, to_optional_unchecked, to_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.payment_method import PaymentMethodRef, to_method_name
from services.core import public_ids
from services.orders.donations import WaitingTerms
from services.orders.guest_gifts import GuestKey
from services.providers.offered import offered


@strawberry.input(description="Money to give to a hosted collective without an account.")
class DonateAsGuestInput(MoneyInput):
    email: str = strawberry.field(description="Email address of the giver, to which the receipt goes.")
    name: str = strawberry.field(
        description="Name of the giver. Visible to the receiver's host alone until the gift is claimed."
    )
    to: CollectiveRef = strawberry.field(description="The receiver, which must have a host.")
    amount: AmountInput = strawberry.field(
        description="Amount to give, in the receiver's currency. In a tier, its price times `quantity`."
    )
    platform_tip: AmountInput | None = strawberry.field(
        default=None,
        description="Tip to the platform beside the amount, in the receiver's currency, at most as large as "
        "the gift.",
    )
    pay_with: PaymentMethodRef | None = strawberry.field(
        default=None,
        description="Way of paying: by bank transfer, or by a payment method of the host, such as a card.",
    )
    payment_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payWith; removal 2027-06-01",
        description="MANUAL for a bank transfer, or the ID of a payment method.",
    )
    tier: strawberry.ID | None = strawberry.field(
        default=None, description="Tier of the receiver, or of one of its events, to give in: tie_…"
    )
    quantity: int | None = strawberry.field(
        default=None, description="Number of tickets or other things to pay for, 1 to 1000. Defaults to 1."
    )
    description: str | None = strawberry.field(default=None, description="Purpose of the donation. Public.")
    is_incognito: bool | None = strawberry.field(
        default=False,
        description="True to show the giver to the receiver's host and the platform alone, even once "
        "the gift is claimed. Not for tickets.",
    )


@strawberry.type(description="The order of the donation, PENDING; it shows no giver until they claim it.")
class DonateAsGuestPayload(DonatePayload):
    pass


@strawberry.type
class GuestMutations:
    @strawberry.mutation(
        description="Give money to a collective without an account. The answer is the same for known and "
        "unknown email addresses; the receipt has a link by which the owner of the address claims the gift. "
        "Allowed for everybody. Errors: as `donate`, and RATE_LIMITED after 5 gifts by an email address, or "
        "20 from a network address, within an hour."
    )
    async def donate_as_guest(self, info: Info, input: DonateAsGuestInput) -> DonateAsGuestPayload:
        async def work() -> dict[str, Any]:
            payload = key_payload(input)
            order: models.Order = await guests.donate(
                info,
                email=input.email,
                is_rehearsal=bool(input.dry_run),
                order_id=models.new_id(),
                to=to_key(input.to),
                amount=to_unchecked(input.amount),
                tip=to_optional_unchecked(input.platform_tip),
                payment_method=to_method_name(input.pay_with, field="payWith", text=input.payment_method),
                terms=WaitingTerms(
                    providers=offered(info.context.settings), is_rehearsal=bool(input.dry_run)
                ),
                tier_id=public_ids.decode("Tier", input.tier, field="tier") if input.tier else None,
                quantity=input.quantity,
                description=input.description,
                is_incognito=bool(input.is_incognito),
                name=input.name,
                key=GuestKey(input.idempotency_key, payload) if input.idempotency_key is not None else None,
            )
            return {"order": order} | await load_handover(info, order)

        return await answer_payload(
            info, DonateAsGuestPayload, work, dry_run=bool(input.dry_run), for_anybody=True
        )
