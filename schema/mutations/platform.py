"""Settings by platform admins: exchange rates, the policy, issuers and their caps."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Nonprofit
from schema.types.enums import CapPeriod
from schema.types.identity import PlatformPolicy
from schema.types.issuer import IssuanceCap
from schema.types.money import AmountInput, FxRate, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.scalars import CurrencyCode
from services.collectives import platform_policy
from services.ledger import exchange_rates
from services.volunteering import issuers


@strawberry.input(description="An exchange rate to set.")
class SetFxRateInput:
    from_: CurrencyCode = strawberry.field(name="from", description="Currency to convert from.")
    to: CurrencyCode = strawberry.field(description="Currency to convert to.")
    rate: Decimal = strawberry.field(
        description="Units of `to` per unit of `from`: at most twice, and at least half, of each rate in "
        "force within a day of its start."
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="When the rate takes effect, not in the past. Defaults to now."
    )


@strawberry.type(description="The new exchange rate.")
class SetFxRatePayload(Payload):
    fx_rate: FxRate | None = strawberry.field(default=None, description="The new exchange rate.")


@strawberry.input(description="Changes to the platform policy, at least one. Omitted fields stay unchanged.")
class SetPlatformPolicyInput:
    platform_fee_bps: int | None = strawberry.field(
        default=None, description="Platform fee on money that enters a host, in basis points."
    )
    usd_per_current: Decimal | None = strawberry.field(
        default=None,
        description="Value of one current in US dollars: above zero, with at most 6 decimal places. Also "
        "becomes the exchange rate from then on.",
    )
    redemption_fee_bps: int | None = strawberry.field(
        default=None,
        description="Platform fee on the dollars that a redemption pays, in basis points.",
    )
    master_weekly_limit: AmountInput | None = strawberry.field(
        default=None,
        description="Currents that one user may spend on master offers within seven days, in CUR.",
    )
    signup_bonus: AmountInput | None = strawberry.field(
        default=None,
        description="Currents that a user receives on claiming their account, in CUR. Zero for no bonus.",
    )
    check_in_minutes: int | None = strawberry.field(
        default=None,
        description="Minutes before its start at which an event's check-in opens, from 0 to 43200.",
    )
    max_event_hours: AmountInput | None = strawberry.field(
        default=None, description="Maximum currents that one attendance of an event credits, in CUR."
    )
    default_issuance_cap: AmountInput | None = strawberry.field(
        default=None,
        description="Maximum currents that a nonprofit issues a month while the platform has set it no cap, "
        "in CUR.",
    )
    confirm_above: AmountInput | None = strawberry.field(
        default=None,
        description="Amount in USD above which approving and giving money need a session confirmed within "
        "10 minutes.",
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="When the policy takes effect, not in the past. Defaults to now."
    )


@strawberry.type(description="The new platform policy.")
class SetPlatformPolicyPayload(Payload):
    policy: PlatformPolicy | None = strawberry.field(default=None, description="The new platform policy.")


@strawberry.input(description="The decision to let a nonprofit issue currents.")
class DecideIssuerInput:
    nonprofit: CollectiveRef = strawberry.field(description="The nonprofit to decide on.")
    approve: bool = strawberry.field(description="True to allow issuing currents, false to forbid it.")
    reason: str | None = strawberry.field(
        default=None, description="Reason for the decision. Required to forbid issuing."
    )


@strawberry.type(description="The nonprofit after the decision.")
class DecideIssuerPayload(Payload):
    collective: Nonprofit | None = strawberry.field(
        default=None, description="The nonprofit after the decision."
    )


@strawberry.input(description="An issuance cap to set.")
class SetIssuanceCapInput:
    nonprofit: CollectiveRef = strawberry.field(description="The nonprofit to cap.")
    period: CapPeriod = strawberry.field(description="Period in which the issued currents count.")
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="Maximum currents per period, in CUR. Zero allows none; null lifts the cap.",
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="When the cap takes effect, not in the past. Defaults to now."
    )


@strawberry.type(description="The new issuance cap.")
class SetIssuanceCapPayload(Payload):
    cap: IssuanceCap | None = strawberry.field(default=None, description="The new issuance cap.")


@strawberry.type
class PlatformMutations:
    @strawberry.mutation(
        description="Add an exchange rate set by the platform. Allowed for platform admins. Errors: CONFLICT."
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

        return await answer_payload(info, SetFxRatePayload, work)

    @strawberry.mutation(
        description="Set figures of the platform policy from a point in time on; existing orders keep "
        "theirs. A figure at most doubles or halves within a day; fees may also move by 500 basis points, "
        "check-in by 60 minutes, the bonus by 1.000 CUR and `confirmAbove` by 100.00 USD. "
        "Allowed for platform admins. Errors: CONFLICT."
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
            master_weekly_limit=to_optional_unchecked(input.master_weekly_limit),
            signup_bonus=to_optional_unchecked(input.signup_bonus),
            max_event_hours=to_optional_unchecked(input.max_event_hours),
            default_issuance_cap=to_optional_unchecked(input.default_issuance_cap),
            confirm_above=to_optional_unchecked(input.confirm_above),
        )

        async def work() -> dict[str, Any]:
            row = await info.context.run(
                platform_policy.set_policy, changes=changes, valid_from=input.valid_from
            )
            return {"policy": row}

        return await answer_payload(info, SetPlatformPolicyPayload, work)

    @strawberry.mutation(
        description="Allow or forbid a nonprofit to issue currents; its admins are notified by mail. "
        "Allowed for platform admins. Errors: INVALID_STATE if the nonprofit is archived."
    )
    async def decide_issuer(self, info: Info, input: DecideIssuerInput) -> DecideIssuerPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                issuers.decide, nonprofit=to_key(input.nonprofit), approve=input.approve, reason=input.reason
            )
            return {"collective": row}

        return await answer_payload(info, DecideIssuerPayload, work)

    @strawberry.mutation(
        description="Cap the currents that a nonprofit issues in each week, month or year, or lift the "
        "cap. Currents already issued in the period count. Allowed for platform admins."
    )
    async def set_issuance_cap(
        self,
        info: Info,
        input: SetIssuanceCapInput,
    ) -> SetIssuanceCapPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                issuers.set_cap,
                nonprofit=to_key(input.nonprofit),
                period=input.period,
                amount=to_optional_unchecked(input.amount),
                valid_from=input.valid_from,
            )
            return {"cap": row}

        return await answer_payload(info, SetIssuanceCapPayload, work)
