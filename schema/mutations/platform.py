"""What a platform admin sets: rates, the policy, who issues currents and how many."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, perform
from schema.types.collective import Nonprofit
from schema.types.enums import CapPeriod
from schema.types.identity import PlatformPolicy
from schema.types.issuer import IssuanceCap
from schema.types.money import AmountInput, FxRate, asked_or_none
from schema.types.node import CollectiveRef, ref
from schema.types.scalars import CurrencyCode
from services.collectives import platform_policy
from services.ledger import exchange_rates
from services.volunteering import issuers


@strawberry.input(description="An exchange rate.")
class SetFxRateInput:
    from_: CurrencyCode = strawberry.field(name="from", description="The currency converted.")
    to: CurrencyCode = strawberry.field(description="The currency converted to.")
    rate: Decimal = strawberry.field(description="Units of `to` for one unit of `from`.")
    valid_from: datetime | None = strawberry.field(default=None, description="Since when; now if not given.")


@strawberry.type(description="The new rate.")
class SetFxRatePayload(Payload):
    fx_rate: FxRate | None = strawberry.field(default=None, description="The rate.")


@strawberry.input(description="Figures of the platform's policy; at least one. What is not given stays.")
class SetPlatformPolicyInput:
    platform_fee_bps: int | None = strawberry.field(
        default=None, description="The fee on money that enters a host, in basis points."
    )
    usd_per_current: Decimal | None = strawberry.field(
        default=None,
        description="What one current is worth in US dollars: above zero, at most 6 decimal places. It is an "
        "exchange rate from then on, too.",
    )
    redemption_fee_bps: int | None = strawberry.field(
        default=None,
        description="The platform's part of the dollars that a redemption pays, in basis points.",
    )
    master_weekly_limit: AmountInput | None = strawberry.field(
        default=None,
        description="How many currents a user gives for master offers within seven days, in CUR.",
    )
    signup_bonus: AmountInput | None = strawberry.field(
        default=None, description="What a user gets who claims their account, in CUR; zero is nothing."
    )
    check_in_minutes: int | None = strawberry.field(
        default=None,
        description="How many minutes before its start an event's check-in opens: 0 to 43200.",
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="Since when, not in the past; now if not given."
    )


@strawberry.type(description="The new policy.")
class SetPlatformPolicyPayload(Payload):
    policy: PlatformPolicy | None = strawberry.field(default=None, description="The policy.")


@strawberry.input(description="Whether a nonprofit may issue currents.")
class DecideIssuerInput:
    nonprofit: CollectiveRef = strawberry.field(description="The nonprofit.")
    approve: bool = strawberry.field(description="Yes or no.")
    reason: str | None = strawberry.field(default=None, description="Why; a no needs it.")


@strawberry.type(description="The nonprofit as decided.")
class DecideIssuerPayload(Payload):
    collective: Nonprofit | None = strawberry.field(default=None, description="The nonprofit.")


@strawberry.input(description="A cap of issuance.")
class SetIssuanceCapInput:
    nonprofit: CollectiveRef = strawberry.field(description="Whom it caps.")
    period: CapPeriod = strawberry.field(description="The period that it counts in.")
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="The most currents of a period, in CUR; zero is none at all, null lifts the cap.",
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="Since when, not in the past; now if not given."
    )


@strawberry.type(description="The new cap.")
class SetIssuanceCapPayload(Payload):
    cap: IssuanceCap | None = strawberry.field(default=None, description="The cap.")


@strawberry.type
class PlatformMutations:
    @strawberry.mutation(
        description="Add an exchange rate of the platform's own. For platform ADMINs. CONFLICT."
    )
    async def set_fx_rate(self, info: Info, input: SetFxRateInput) -> SetFxRatePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                exchange_rates.set_rate,
                base=input.from_,
                target=input.to,
                rate=input.rate,
                valid_from=input.valid_from,
            )
            return {"fx_rate": row}

        return await perform(info, SetFxRatePayload, work)

    @strawberry.mutation(
        description="Set figures of the platform's policy from a moment on; orders that exist keep theirs. "
        "For platform ADMINs. CONFLICT."
    )
    async def set_platform_policy(
        self,
        info: Info,
        input: SetPlatformPolicyInput,
    ) -> SetPlatformPolicyPayload:
        changes = platform_policy.PolicyChanges(
            platform_fee_bps=input.platform_fee_bps,
            usd_per_current=input.usd_per_current,
            redemption_fee_bps=input.redemption_fee_bps,
            check_in_minutes=input.check_in_minutes,
            master_weekly_limit=asked_or_none(input.master_weekly_limit),
            signup_bonus=asked_or_none(input.signup_bonus),
        )

        async def work() -> dict[str, Any]:
            row = await info.context.run(
                platform_policy.set_policy, changes=changes, valid_from=input.valid_from
            )
            return {"policy": row}

        return await perform(info, SetPlatformPolicyPayload, work)

    @strawberry.mutation(
        description="Let a nonprofit issue currents, or no more; its ADMINs get a mail. For platform ADMINs. "
        "INVALID_STATE where it is archived."
    )
    async def decide_issuer(self, info: Info, input: DecideIssuerInput) -> DecideIssuerPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                issuers.decide, nonprofit=ref(input.nonprofit), approve=input.approve, reason=input.reason
            )
            return {"collective": row}

        return await perform(info, DecideIssuerPayload, work)

    @strawberry.mutation(
        description="Cap what a nonprofit issues in each week, month or year, or lift that cap. What it "
        "issued before in the period counts. For platform ADMINs."
    )
    async def set_issuance_cap(
        self,
        info: Info,
        input: SetIssuanceCapInput,
    ) -> SetIssuanceCapPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                issuers.set_cap,
                nonprofit=ref(input.nonprofit),
                period=input.period,
                amount=asked_or_none(input.amount),
                valid_from=input.valid_from,
            )
            return {"cap": row}

        return await perform(info, SetIssuanceCapPayload, work)
