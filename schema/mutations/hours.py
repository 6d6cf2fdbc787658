"""Logging of volunteered hours, and cash-outs."""

from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

import models
from resolvers import hours as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, answer_order_payload, answer_payload, keyed_request
from schema.types.money import AmountInput, to_unchecked
from schema.types.node import CollectiveRef, to_optional_key
from schema.types.order import Order
from schema.types.payment_method import PayoutMethodRef, to_method_name
from services.orders import cash_outs


@strawberry.input(description="A nonprofit that is not on the platform yet.")
class NewNonprofitInput:
    name: str = strawberry.field(description="Name of the nonprofit.")
    email: str = strawberry.field(description="Email address of a contact there, who is invited by mail.")


@strawberry.input(description="Hours that somebody volunteered.")
class LogHoursInput(MoneyInput):
    nonprofit: CollectiveRef | None = strawberry.field(
        default=None,
        description="The nonprofit that benefited, which must be an approved issuer. Give either this or "
        "`newNonprofit`.",
    )
    new_nonprofit: NewNonprofitInput | None = strawberry.field(
        default=None,
        description="A nonprofit that is not on the platform yet: it is invited by mail, and nothing is "
        "stored.",
    )
    starts_at: datetime = strawberry.field(description="When the hours began, at most 14 days ago.")
    ends_at: datetime = strawberry.field(
        description="When the hours ended: not in the future, 15 minutes to 24 hours after the start, and "
        "on the same day in the nonprofit's time zone."
    )
    description: str | None = strawberry.field(default=None, description="Description of the work.")
    event: CollectiveRef | None = strawberry.field(
        default=None, description="The nonprofit's event at which the hours were volunteered."
    )
    coordinator_email: str | None = strawberry.field(
        default=None,
        description="Email address of the person asked to approve. Defaults to every admin. An unclaimed "
        "user is created for an unknown address.",
    )
    volunteer: CollectiveRef | None = strawberry.field(
        default=None,
        description="The person who volunteered. Defaults to you. Other people's hours are logged by "
        "admins of the nonprofit.",
    )


@strawberry.type(description="The order of the hours, PENDING.")
class LogHoursPayload(Payload):
    order: Order | None = strawberry.field(
        default=None, description="The order of the hours. Null if a new nonprofit was invited."
    )


@strawberry.input(description="An amount of your balance to be paid out.")
class CashOutInput(MoneyInput):
    amount: AmountInput = strawberry.field(description="Amount of money; currents cannot be cashed out.")
    pay_to: PayoutMethodRef | None = strawberry.field(
        default=None,
        description="Way of being paid: in a way agreed elsewhere, the default, or by one of your payout "
        "methods.",
    )
    payout_method: str | None = strawberry.field(
        default=None,
        deprecation_reason="2026-11-28: Use payTo; removal 2027-06-01",
        description="MANUAL (the default), or the ID of one of your payout methods.",
    )
    description: str | None = strawberry.field(default=None, description="Note on the cash-out.")


@strawberry.type(description="The order of the cash-out, PENDING. Its amount is held.")
class CashOutPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the cash-out.")


@strawberry.type
class HoursMutations:
    @strawberry.mutation(
        description="Ask a nonprofit to approve volunteered hours; each approved hour issues one current. "
        "Allowed for the volunteer, and for admins of the nonprofit on behalf of others. "
        "Errors: CONFLICT if the hours overlap others of the volunteer, INVALID_STATE if the "
        "nonprofit may not issue currents, RATE_LIMITED after 10 invited nonprofits, or 3 "
        "mails to one address, within a day."
    )
    async def log_hours(self, info: Info, input: LogHoursInput) -> LogHoursPayload:
        if input.new_nonprofit is not None:
            return await _invite_nonprofit(info, input, input.new_nonprofit)

        async def work(order_id: UUID) -> models.Order:
            return await resolve.log_hours(
                info,
                order_id=order_id,
                nonprofit=to_optional_key(input.nonprofit),
                starts_at=input.starts_at,
                ends_at=input.ends_at,
                description=input.description,
                event=to_optional_key(input.event),
                coordinator_email=input.coordinator_email,
                volunteer=to_optional_key(input.volunteer),
                is_trial=bool(input.dry_run),
            )

        return await answer_order_payload(info, LogHoursPayload, input, "logHours", work)

    @strawberry.mutation(
        description="Ask for a payout of money from your own balance; the amount is held at once. An "
        "admin of the platform approves and pays it. Errors: INSUFFICIENT_FUNDS."
    )
    async def cash_out(self, info: Info, input: CashOutInput) -> CashOutPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                cash_outs.request,
                order_id=order_id,
                amount=to_unchecked(input.amount),
                payout_method=to_method_name(input.pay_to, field="payTo", text=input.payout_method),
                description=input.description,
            )

        return await answer_order_payload(info, CashOutPayload, input, "cashOut", work)


async def _invite_nonprofit(info: Info, input: LogHoursInput, new: NewNonprofitInput) -> LogHoursPayload:
    """Invite a nonprofit, once per idempotency key, without creating an order."""

    async def work() -> dict[str, Any]:
        await resolve.invite_nonprofit(
            info,
            keyed_request("logHours", input),
            nonprofit=to_optional_key(input.nonprofit),
            name=new.name,
            email=new.email,
            description=input.description,
        )
        return {}

    return await answer_payload(info, LogHoursPayload, work, dry_run=bool(input.dry_run))
