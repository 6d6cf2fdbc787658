"""Payment methods of hosts and payout methods of payees: added, replaced, archived."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.enums import PaymentMethodKind, PayoutMethodKind
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.payment_method import PaymentMethod, PayoutMethod
from schema.types.scalars import Json
from services.core import public_ids
from services.orders import payment_methods, payout_methods


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
    iban: str | None = strawberry.field(
        default=None,
        description="IBAN of the bank account for transfers, of type MANUAL alone. Public to givers.",
    )
    account_holder: str | None = strawberry.field(
        default=None,
        description="Holder of that account, at most 70 characters. Defaults to the host's name.",
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


@strawberry.input(description="A change of a payment method. What is left out stays.")
class UpdatePaymentMethodInput:
    id: strawberry.ID = strawberry.field(description="ID of the payment method.")
    name: str | None = strawberry.field(default=None, description="Display name of the payment method.")
    fee_bps: int | None = strawberry.field(
        default=None, description="Proportional processor fee, in basis points."
    )
    fee_fixed: AmountInput | None = strawberry.field(
        default=None, description="Fixed processor fee for each payment, in the host's currency."
    )
    iban: str | None = strawberry.field(
        default=None,
        description="IBAN of the bank account for transfers, of type MANUAL alone. Public to givers.",
    )
    account_holder: str | None = strawberry.field(
        default=None, description="Holder of that account, at most 70 characters."
    )


@strawberry.type(description="The payment method that takes the place of the changed one.")
class UpdatePaymentMethodPayload(Payload):
    payment_method: PaymentMethod | None = strawberry.field(
        default=None, description="The new payment method, with a new ID."
    )


@strawberry.input(description="A payment method that a host no longer offers.")
class ArchivePaymentMethodInput:
    id: strawberry.ID = strawberry.field(description="ID of the payment method.")


@strawberry.type(description="The archived payment method.")
class ArchivePaymentMethodPayload(Payload):
    payment_method: PaymentMethod | None = strawberry.field(
        default=None, description="The archived payment method."
    )


@strawberry.input(description="A change of a payout method. What is left out stays.")
class UpdatePayoutMethodInput:
    id: strawberry.ID = strawberry.field(description="ID of the payout method.")
    name: str | None = strawberry.field(default=None, description="Name of your choice.")
    details: Json | None = strawberry.field(
        default=None,
        description="Private account details as a JSON object of strings, which replace all earlier ones.",
    )


@strawberry.type(description="The payout method that takes the place of the changed one.")
class UpdatePayoutMethodPayload(Payload):
    payout_method: PayoutMethod | None = strawberry.field(
        default=None, description="The new payout method, with a new ID."
    )


@strawberry.input(description="A payout method that a payee no longer uses.")
class ArchivePayoutMethodInput:
    id: strawberry.ID = strawberry.field(description="ID of the payout method.")


@strawberry.type(description="The archived payout method.")
class ArchivePayoutMethodPayload(Payload):
    payout_method: PayoutMethod | None = strawberry.field(
        default=None, description="The archived payout method."
    )


@strawberry.type
class PaymentMethodMutations:
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
                iban=input.iban,
                account_holder=input.account_holder,
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

    @strawberry.mutation(
        description="Change a payment method: a new one takes its place, and it is archived. Orders and "
        "recurring gifts keep the one that they name, with its fees. Allowed for admins of the host. "
        "Errors: INVALID_STATE."
    )
    async def update_payment_method(
        self,
        info: Info,
        input: UpdatePaymentMethodInput,
    ) -> UpdatePaymentMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payment_methods.update_payment_method,
                method_id=public_ids.decode("PaymentMethod", input.id, field="id"),
                name=input.name,
                fee_bps=input.fee_bps,
                fee_fixed=to_optional_unchecked(input.fee_fixed),
                iban=input.iban,
                account_holder=input.account_holder,
            )
            return {"payment_method": row}

        return await answer_payload(info, UpdatePaymentMethodPayload, work)

    @strawberry.mutation(
        description="Archive a payment method, which new orders can no longer name; recurring gifts that "
        "name it go on. Allowed for admins of the host. Errors: INVALID_STATE."
    )
    async def archive_payment_method(
        self,
        info: Info,
        input: ArchivePaymentMethodInput,
    ) -> ArchivePaymentMethodPayload:
        async def work() -> dict[str, Any]:
            method_id = public_ids.decode("PaymentMethod", input.id, field="id")
            row = await info.context.run(payment_methods.archive_payment_method, method_id=method_id)
            return {"payment_method": row}

        return await answer_payload(info, ArchivePaymentMethodPayload, work)

    @strawberry.mutation(
        description="Change a payout method: a new one takes its place, and it is archived. Expenses keep "
        "the one that they name; change them with updateExpense. Allowed for the payee and its admins. "
        "Errors: INVALID_STATE."
    )
    async def update_payout_method(
        self,
        info: Info,
        input: UpdatePayoutMethodInput,
    ) -> UpdatePayoutMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payout_methods.update_payout_method,
                method_id=public_ids.decode("PayoutMethod", input.id, field="id"),
                name=input.name,
                details=input.details,
            )
            return {"payout_method": row}

        return await answer_payload(info, UpdatePayoutMethodPayload, work)

    @strawberry.mutation(
        description="Archive a payout method, which new expenses can no longer name. Allowed for the payee "
        "and its admins. Errors: INVALID_STATE."
    )
    async def archive_payout_method(
        self,
        info: Info,
        input: ArchivePayoutMethodInput,
    ) -> ArchivePayoutMethodPayload:
        async def work() -> dict[str, Any]:
            method_id = public_ids.decode("PayoutMethod", input.id, field="id")
            row = await info.context.run(payout_methods.archive_payout_method, method_id=method_id)
            return {"payout_method": row}

        return await answer_payload(info, ArchivePayoutMethodPayload, work)
