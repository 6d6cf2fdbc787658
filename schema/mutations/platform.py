"""What a platform admin sets: rates and fees, as rows from a moment on."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

from resolvers.context import Info
from schema.identity import PlatformPolicy
from schema.money import FxRate
from schema.mutations.base import Payload, perform
from schema.scalars import CurrencyCode
from services import fx, platform


@strawberry.input(description="An exchange rate.")
class SetFxRateInput:
    from_: CurrencyCode = strawberry.field(name="from", description="The currency converted.")
    to: CurrencyCode = strawberry.field(description="The currency converted to.")
    rate: Decimal = strawberry.field(description="Units of `to` for one unit of `from`.")
    valid_from: datetime | None = strawberry.field(default=None, description="Since when; now if not given.")


@strawberry.type(description="The new rate.")
class SetFxRatePayload(Payload):
    fx_rate: FxRate | None = strawberry.field(default=None, description="The rate.")


@strawberry.input(description="What the platform charges.")
class SetPlatformPolicyInput:
    platform_fee_bps: int = strawberry.field(
        description="The fee on money that enters a host, in basis points."
    )
    valid_from: datetime | None = strawberry.field(default=None, description="Since when; now if not given.")


@strawberry.type(description="The new policy.")
class SetPlatformPolicyPayload(Payload):
    policy: PlatformPolicy | None = strawberry.field(default=None, description="The policy.")


@strawberry.type
class PlatformMutations:
    @strawberry.mutation(
        description="Add an exchange rate of the platform's own. For platform ADMINs. CONFLICT."
    )
    async def set_fx_rate(self, info: Info, input: SetFxRateInput) -> SetFxRatePayload:  # noqa: A002
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                fx.set_rate, base=input.from_, target=input.to, rate=input.rate,
                valid_from=input.valid_from,
            )  # fmt: skip
            return {"fx_rate": row}

        return await perform(info, SetFxRatePayload, work)

    @strawberry.mutation(
        description="Set the platform's fee from a moment on; orders that exist keep theirs. For platform "
        "ADMINs."
    )
    async def set_platform_policy(
        self,
        info: Info,
        input: SetPlatformPolicyInput,  # noqa: A002
    ) -> SetPlatformPolicyPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                platform.set_policy, platform_fee_bps=input.platform_fee_bps,
                valid_from=input.valid_from,
            )  # fmt: skip
            return {"policy": row}

        return await perform(info, SetPlatformPolicyPayload, work)
