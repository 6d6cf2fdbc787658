"""Connecting hosts to payment providers."""

from typing import Any

import strawberry

import models
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.enums import ProviderAccountStatus, ProviderName
from schema.types.node import CollectiveRef, to_key
from schema.types.payment_method import PaymentMethod
from services.payments import accounts
from services.providers.offered import offered


@strawberry.input(description="The host to connect to a payment provider.")
class ConnectHostInput:
    host: CollectiveRef = strawberry.field(description="The host. You must be an admin of it.")
    provider: ProviderName = strawberry.field(description="The payment provider, which the server offers.")


@strawberry.type(description="The new connection of a host to a payment provider.")
class ConnectHostPayload(Payload):
    status: ProviderAccountStatus | None = strawberry.field(
        default=None, description="State of the host's account: PENDING until the host agrees at `url`."
    )
    url: str | None = strawberry.field(
        default=None, description="Address at the provider at which the host agrees. Null if it need not."
    )
    payment_method: PaymentMethod | None = strawberry.field(
        default=None, description="The new way of paying the host's collectives, once the account is ACTIVE."
    )


@strawberry.type
class ProviderMutations:
    @strawberry.mutation(
        description="Connect a host to a payment provider, so that its collectives take cards. Allowed for "
        "admins of the host. Errors: CONFLICT if it is connected, INVALID_STATE if the server does not offer "
        "the provider."
    )
    async def connect_host(self, info: Info, input: ConnectHostInput) -> ConnectHostPayload:
        async def work() -> dict[str, Any]:
            connection = await info.context.run(
                accounts.connect,
                host=to_key(input.host),
                provider=input.provider,
                providers=offered(info.context.settings),
            )
            method: models.PaymentMethod | None = connection.method
            return {
                "status": connection.account.status,
                "url": connection.url,
                "payment_method": method,
            }

        return await answer_payload(info, ConnectHostPayload, work)
