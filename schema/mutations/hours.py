"""Asking for currents for hours, and for a balance to be paid out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from models import new_id
from resolvers import commands
from resolvers import hours as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, content, perform, perform_order
from schema.types.money import AmountInput, asked
from schema.types.node import CollectiveRef, ref_or_none
from schema.types.order import Order
from services.core.errors import Invalid
from services.orders import cash_outs
from services.volunteering import nonprofit_referrals


@strawberry.input(description="A nonprofit that is not here yet.")
class NewNonprofitInput:
    name: str = strawberry.field(description="Its name.")
    email: str = strawberry.field(description="The address of somebody there, who is invited by mail.")


@strawberry.input(description="Hours that somebody volunteered.")
class LogHoursInput(MoneyInput):
    nonprofit: CollectiveRef | None = strawberry.field(
        default=None, description="Whom the hours were given to; it may issue currents. Or give newNonprofit."
    )
    new_nonprofit: NewNonprofitInput | None = strawberry.field(
        default=None, description="A nonprofit that is not here: it is invited by mail, nothing is stored."
    )
    starts_at: datetime = strawberry.field(description="When they began: at most 14 days ago.")
    ends_at: datetime = strawberry.field(
        description="When they ended: not in the future, 15 minutes to 24 hours after the start, on the same "
        "day in the nonprofit's time zone."
    )
    description: str | None = strawberry.field(default=None, description="What was done.")
    event: CollectiveRef | None = strawberry.field(
        default=None, description="An event of the nonprofit that they belong to."
    )
    coordinator_email: str | None = strawberry.field(
        default=None,
        description="Whom to ask; not given: every ADMIN. An unknown address becomes an unclaimed user.",
    )
    volunteer: CollectiveRef | None = strawberry.field(
        default=None,
        description="Who gave them; you if not given. For ADMINs of the nonprofit, and yourself.",
    )


@strawberry.type(description="The order of the hours, PENDING.")
class LogHoursPayload(Payload):
    order: Order | None = strawberry.field(
        default=None, description="The order; null where a new nonprofit was invited."
    )


@strawberry.input(description="An amount of your balance to be paid out.")
class CashOutInput(MoneyInput):
    amount: AmountInput = strawberry.field(description="How much; money, no currents.")
    payout_method: str | None = strawberry.field(
        default=None, description="MANUAL (as if not given), or the id of a payout method of yours."
    )
    description: str | None = strawberry.field(default=None, description="A note.")


@strawberry.type(description="The order of a cash-out, PENDING; its amount is held.")
class CashOutPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")


@strawberry.type
class TimeMutations:
    @strawberry.mutation(
        description="Ask a nonprofit to approve hours that you volunteered; each approved hour issues one "
        "current. For the volunteer, and ADMINs of the nonprofit for others. CONFLICT where they overlap "
        "other hours of the volunteer, INVALID_STATE where the nonprofit may not issue currents, "
        "RATE_LIMITED after 10 nonprofits that are not here, or 3 mails to one address, within a day."
    )
    async def log_hours(self, info: Info, input: LogHoursInput) -> LogHoursPayload:
        if input.new_nonprofit is not None:
            return await _nominated(info, input, input.new_nonprofit)

        async def work(order_id: Any) -> Any:
            return await resolve.log(
                info,
                order_id=order_id,
                nonprofit=ref_or_none(input.nonprofit),
                starts_at=input.starts_at,
                ends_at=input.ends_at,
                description=input.description,
                event=ref_or_none(input.event),
                coordinator_email=input.coordinator_email,
                volunteer=ref_or_none(input.volunteer),
            )

        return await perform_order(info, LogHoursPayload, input, "logHours", work)

    @strawberry.mutation(
        description="Ask for money of your own balance; it is held at once. An ADMIN of the platform "
        "approves and pays it. INSUFFICIENT_FUNDS."
    )
    async def cash_out(self, info: Info, input: CashOutInput) -> CashOutPayload:
        async def work(order_id: Any) -> Any:
            return await info.context.run(
                cash_outs.request,
                order_id=order_id,
                amount=asked(input.amount),
                payout_method=input.payout_method,
                description=input.description,
            )

        return await perform_order(info, CashOutPayload, input, "cashOut", work)


async def _nominated(info: Info, given: LogHoursInput, new: NewNonprofitInput) -> LogHoursPayload:
    """Invite a nonprofit: once under a key, and no order comes of it."""

    async def invite() -> None:
        if given.nonprofit is not None:
            raise Invalid("Name a nonprofit, or a new one", path=["input", "newNonprofit"])
        await info.context.run(
            nonprofit_referrals.invite, name=new.name, email=new.email, description=given.description
        )

    async def work() -> dict[str, Any]:
        await commands.once(
            info,
            mutation="logHours",
            key=given.idempotency_key,
            payload=content(given),
            result_id=new_id(),
            work=invite,
            replay=_nothing,
        )
        return {}

    return await perform(info, LogHoursPayload, work, dry_run=bool(given.dry_run))


async def _nothing(_: UUID) -> None:
    """Return what an invitation returned."""
