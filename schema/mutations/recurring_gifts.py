"""Changing, pausing, resuming and cancelling recurring gifts; `donate` begins them."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any
from uuid import UUID

import strawberry

import models
from resolvers import recurring_gifts as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, PayloadT, answer_payload, keyed_request
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.payment_method import PaymentMethodRef, to_method_name
from schema.types.recurring_gift import RecurringGift
from services.core import public_ids
from services.recurring import changes, terms

_ID = "ID of the recurring gift, sub_…"
_GIFT = "The recurring gift as it is now."


@strawberry.input(description="New terms of a recurring gift. What is left out stays as it is.")
class UpdateSubscriptionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description=_ID)
    amount: AmountInput | None = strawberry.field(
        default=None, description="Amount of each further charge. In a tier, its price times `quantity`."
    )
    platform_tip: AmountInput | None = strawberry.field(
        default=None,
        description="Tip to the platform with each further charge, at most as large as the gift. Zero for "
        "none.",
    )
    quantity: int | None = strawberry.field(
        default=None, description="Number of things in the tier to pay for, 1 to 1000."
    )
    tier: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Another tier of the receiver: tie_…. Null leaves the tier."
    )
    pay_with: PaymentMethodRef | None = strawberry.field(
        default=None,
        description="Way of paying: from the balance, by bank transfer, or by a payment method, one of a "
        "provider with the newest card that it keeps of the giver. A refused charge is tried again at once.",
    )
    payment_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payWith; removal 2027-06-01",
        description="BALANCE, MANUAL for a bank transfer, or the ID of a payment method.",
    )
    anchor_day: int | None = strawberry.field(
        default=None,
        description="Day of the month, 1 to 31, on which to charge. It moves once a period; a day that is "
        "over counts from the next period on.",
    )
    is_incognito: bool | None = strawberry.field(
        default=None,
        description="True to show the giver of further charges to the hosts and the platform alone. Charges "
        "that were made stay as they are, and whoever has seen this gift may recognize it.",
    )


@strawberry.type(description="The recurring gift with its new terms.")
class UpdateSubscriptionPayload(Payload):
    subscription: RecurringGift | None = strawberry.field(default=None, description=_GIFT)


@strawberry.input(description="The recurring gift to pause.")
class PauseSubscriptionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description=_ID)
    until: date | None = strawberry.field(
        default=None, description="Day on which it resumes by itself. Until somebody resumes it if omitted."
    )
    reason: str | None = strawberry.field(
        default=None, description="Reason for the pause. Visible to both sides and their hosts."
    )


@strawberry.type(description="The paused recurring gift.")
class PauseSubscriptionPayload(Payload):
    subscription: RecurringGift | None = strawberry.field(default=None, description=_GIFT)


@strawberry.input(description="The recurring gift to resume.")
class ResumeSubscriptionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description=_ID)


@strawberry.type(description="The resumed recurring gift.")
class ResumeSubscriptionPayload(Payload):
    subscription: RecurringGift | None = strawberry.field(default=None, description=_GIFT)


@strawberry.input(description="The recurring gift to end.")
class CancelSubscriptionInput(MoneyInput):
    id: strawberry.ID = strawberry.field(description=_ID)
    reason: str | None = strawberry.field(
        default=None, description="Reason for the end. Visible to both sides and their hosts."
    )


@strawberry.type(description="The ended recurring gift.")
class CancelSubscriptionPayload(Payload):
    subscription: RecurringGift | None = strawberry.field(default=None, description=_GIFT)


@strawberry.type
class RecurringGiftMutations:
    @strawberry.mutation(
        description="Change a recurring gift from its next charge on; a refused charge keeps its amount and "
        "tier, and is tried again at once in a new way of paying. Allowed for admins of the giver. "
        "Errors: INVALID_STATE, LIMIT_EXCEEDED if the tier is sold out."
    )
    async def update_subscription(
        self, info: Info, input: UpdateSubscriptionInput
    ) -> UpdateSubscriptionPayload:
        async def work(gift_id: UUID) -> models.RecurringGift:
            return await info.context.run(terms.update, gift_id=gift_id, changes=_to_changes(input))

        return await _answer(info, UpdateSubscriptionPayload, input, "updateSubscription", work)

    @strawberry.mutation(
        description="Pause a recurring gift; the other side gets a mail. Allowed for admins of the giver, "
        "the receiver and its host. Errors: INVALID_STATE."
    )
    async def pause_subscription(self, info: Info, input: PauseSubscriptionInput) -> PauseSubscriptionPayload:
        async def work(gift_id: UUID) -> models.RecurringGift:
            return await info.context.run(
                changes.pause, gift_id=gift_id, until=input.until, reason=input.reason
            )

        return await _answer(info, PauseSubscriptionPayload, input, "pauseSubscription", work)

    @strawberry.mutation(
        description="Resume a paused recurring gift; charges that were missed are left out. Allowed for "
        "admins of the side that paused it, and of the receiver's host if the receiver did; for admins of "
        "the giver if the platform did. Errors: INVALID_STATE."
    )
    async def resume_subscription(
        self, info: Info, input: ResumeSubscriptionInput
    ) -> ResumeSubscriptionPayload:
        async def work(gift_id: UUID) -> models.RecurringGift:
            return await info.context.run(changes.resume, gift_id=gift_id)

        return await _answer(info, ResumeSubscriptionPayload, input, "resumeSubscription", work)

    @strawberry.mutation(
        description="End a recurring gift for good; what was paid stays paid, and the other side gets a "
        "mail. Allowed for admins of the giver, the receiver and its host. Errors: INVALID_STATE."
    )
    async def cancel_subscription(
        self, info: Info, input: CancelSubscriptionInput
    ) -> CancelSubscriptionPayload:
        async def work(gift_id: UUID) -> models.RecurringGift:
            return await info.context.run(changes.cancel, gift_id=gift_id, reason=input.reason)

        return await _answer(info, CancelSubscriptionPayload, input, "cancelSubscription", work)


async def _answer(
    info: Info,
    payload: type[PayloadT],
    input: Any,
    mutation: str,
    work: Callable[[UUID], Awaitable[models.RecurringGift]],
) -> PayloadT:
    """Run a mutation whose result is a recurring gift, once per idempotency key."""

    async def run_keyed() -> dict[str, Any]:
        request = keyed_request(mutation, input)
        return {"subscription": await resolve.change_gift(info, request, public_id=input.id, work=work)}

    return await answer_payload(info, payload, run_keyed, dry_run=bool(input.dry_run))


def _to_changes(input: UpdateSubscriptionInput) -> terms.TermChanges:
    """Convert the new terms for the services."""
    tier = None if input.tier is strawberry.UNSET else input.tier
    return terms.TermChanges(
        amount=to_optional_unchecked(input.amount),
        tip=to_optional_unchecked(input.platform_tip),
        quantity=input.quantity,
        tier_id=public_ids.decode("Tier", tier, field="tier") if tier else None,
        leaves_tier=input.tier is None,
        payment_method=to_method_name(input.pay_with, field="payWith", text=input.payment_method),
        anchor_day=input.anchor_day,
        is_incognito=input.is_incognito,
    )
