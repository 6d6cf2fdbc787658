"""Host applications, payment methods and payout methods."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.enums import PaymentMethodKind, PayoutMethodKind
from schema.types.member import HostApplication
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.payment_method import PaymentMethod, PayoutMethod
from schema.types.scalars import Json
from services.collectives import hosting
from services.core import public_ids
from services.orders import payment_methods, payout_methods


@strawberry.input(description="An application to a host.")
class ApplyToHostInput:
    collective: CollectiveRef = strawberry.field(
        description="The collective that applies. You must be an admin of it."
    )
    host: CollectiveRef = strawberry.field(description="The host to apply to.")
    message: str | None = strawberry.field(default=None, description="Message to the host's admins.")


@strawberry.type(description="The new application, PENDING.")
class ApplyToHostPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The new application.")


@strawberry.input(description="A host's decision on an application.")
class DecideHostApplicationInput:
    id: strawberry.ID = strawberry.field(description="ID of the application.")
    approve: bool = strawberry.field(description="True to host the applicant, false to decline.")
    reason: str | None = strawberry.field(
        default=None, description="Reason for declining, or a note on the decision."
    )


@strawberry.type(description="The decided application.")
class DecideHostApplicationPayload(Payload):
    application: HostApplication | None = strawberry.field(
        default=None, description="The decided application."
    )


@strawberry.input(description="A way to pay the collectives of a host.")
class CreatePaymentMethodInput:
    host: CollectiveRef = strawberry.field(description="The host. You must be an admin of it.")
    name: str = strawberry.field(description="Display name of the payment method.")
    type: PaymentMethodKind = strawberry.field(
        description="Kind of payment, which decides when it is settled."
    )
    fee_bps: int = strawberry.field(default=0, description="Proportional processor fee, in basis points.")
    fee_fixed: AmountInput | None = strawberry.field(
        default=None, description="Fixed processor fee for each payment, in the host's currency."
    )


@strawberry.type(description="The new payment method.")
class CreatePaymentMethodPayload(Payload):
    payment_method: PaymentMethod | None = strawberry.field(
        default=None, description="The new payment method."
    )


@strawberry.input(description="A way in which a payee can be paid.")
class CreatePayoutMethodInput:
    collective: CollectiveRef = strawberry.field(
        description="The payee: you, or a collective that you are an admin of."
    )
    name: str = strawberry.field(description="Name of your choice.")
    type: PayoutMethodKind = strawberry.field(description="Kind of payout: BANK_ACCOUNT, PAYPAL or OTHER.")
    details: Json = strawberry.field(
        description="Private account details as a JSON object of strings, such as an IBAN."
    )


@strawberry.type(description="The new payout method.")
class CreatePayoutMethodPayload(Payload):
    payout_method: PayoutMethod | None = strawberry.field(default=None, description="The new payout method.")


@strawberry.type
class HostingMutations:
    @strawberry.mutation(
        description="Ask a host to hold a collective's money. Allowed for the collective's admins. "
        "Errors: CONFLICT."
    )
    async def apply_to_host(self, info: Info, input: ApplyToHostInput) -> ApplyToHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                hosting.apply,
                collective=to_key(input.collective),
                host=to_key(input.host),
                message=input.message,
            )
            return {"application": row}

        return await answer_payload(info, ApplyToHostPayload, work)

    @strawberry.mutation(
        description="Accept or decline an application, once. Allowed for admins of the host. Errors: "
        "INVALID_STATE."
    )
    async def decide_host_application(
        self,
        info: Info,
        input: DecideHostApplicationInput,
    ) -> DecideHostApplicationPayload:
        async def work() -> dict[str, Any]:
            application_id = public_ids.decode("HostApplication", input.id, field="id")
            row = await info.context.run(
                hosting.decide,
                application_id=application_id,
                approve=input.approve,
                reason=input.reason,
            )
            return {"application": row}

        return await answer_payload(info, DecideHostApplicationPayload, work)

    @strawberry.mutation(
        description="Add a payment method for gifts to a host's collectives. Allowed for admins of the host."
    )
    async def create_payment_method(
        self,
        info: Info,
        input: CreatePaymentMethodInput,
    ) -> CreatePaymentMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payment_methods.create_payment_method,
                host=to_key(input.host),
                name=input.name,
                kind=input.type,
                fee_bps=input.fee_bps,
                fee_fixed=to_optional_unchecked(input.fee_fixed),
            )
            return {"payment_method": row}

        return await answer_payload(info, CreatePaymentMethodPayload, work)

    @strawberry.mutation(description="Add a payout method. Allowed for the payee and its admins.")
    async def create_payout_method(
        self,
        info: Info,
        input: CreatePayoutMethodInput,
    ) -> CreatePayoutMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payout_methods.create_payout_method,
                collective=to_key(input.collective),
                name=input.name,
                kind=input.type,
                details=input.details,
            )
            return {"payout_method": row}

        return await answer_payload(info, CreatePayoutMethodPayload, work)
