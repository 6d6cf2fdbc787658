"""Making and editing collectives; hosting."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, perform
from schema.types.collective import Collective
from schema.types.enums import CollectiveType, PaymentMethodKind, PayoutMethodKind
from schema.types.member import HostApplication
from schema.types.money import AmountInput, asked_or_none
from schema.types.node import CollectiveRef, ref
from schema.types.payment_method import PaymentMethod, PayoutMethod
from schema.types.scalars import CurrencyCode, Json
from services.collectives import collectives, hosting
from services.core import public_ids
from services.orders import payment_methods


@strawberry.input(description="A new collective.")
class CreateCollectiveInput:
    type: CollectiveType = strawberry.field(description="COMMUNITY, NONPROFIT or BUSINESS.")
    name: str = strawberry.field(description="What people call it.")
    slug: str = strawberry.field(
        description="Its public name in addresses: 2 to 64 of a-z, 0-9 and inner hyphens."
    )
    currency: CurrencyCode = strawberry.field(description="The currency of its money.")
    description: str | None = strawberry.field(default=None, description="What it says of itself.")
    is_host: bool = strawberry.field(
        default=False,
        description="Whether a NONPROFIT or BUSINESS holds its own money, and others' that apply.",
    )


@strawberry.type(description="The new collective; you are its first ADMIN.")
class CreateCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective.")


@strawberry.input(description="What to change; what is not given stays.")
class UpdateCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="Which one.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Its name.")
    slug: str | None = strawberry.field(
        default=strawberry.UNSET, description="A new slug; the old one keeps leading here."
    )
    legal_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its name in law. Private."
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="What it says of itself."
    )
    website: str | None = strawberry.field(default=strawberry.UNSET, description="Its address on the web.")
    location: str | None = strawberry.field(
        default=strawberry.UNSET, description="Where it is; of an event, with updateEvent."
    )
    timezone: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its time zone, by IANA name; of an event, with updateEvent."
    )
    image_url: str | None = strawberry.field(default=strawberry.UNSET, description="Its picture's address.")
    tags: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="At most 20 words to find it by."
    )
    currency: CurrencyCode | None = strawberry.field(
        default=strawberry.UNSET, description="Its currency, while no money has moved."
    )
    host_fee_bps: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="For ADMINs of the host: what it charges this one; on the host itself, its own rate.",
    )


@strawberry.type(description="The changed collective.")
class UpdateCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective.")


@strawberry.input(description="A collective to put away.")
class ArchiveCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="Which one.")


@strawberry.type(description="The archived collective.")
class ArchiveCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective.")


@strawberry.input(description="A request to be hosted.")
class ApplyToHostInput:
    collective: CollectiveRef = strawberry.field(description="Who asks; you are ADMIN of it.")
    host: CollectiveRef = strawberry.field(description="Which host.")
    message: str | None = strawberry.field(default=None, description="A message to its admins.")


@strawberry.type(description="The application, PENDING.")
class ApplyToHostPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The application.")


@strawberry.input(description="A host's answer.")
class DecideHostApplicationInput:
    id: strawberry.ID = strawberry.field(description="The application.")
    approve: bool = strawberry.field(description="Whether to host it.")
    reason: str | None = strawberry.field(default=None, description="Why not; a note.")


@strawberry.type(description="The decided application.")
class DecideHostApplicationPayload(Payload):
    application: HostApplication | None = strawberry.field(default=None, description="The application.")


@strawberry.input(description="A way to give to the collectives of a host.")
class CreatePaymentMethodInput:
    host: CollectiveRef = strawberry.field(description="Which host; you are ADMIN of it.")
    name: str = strawberry.field(description="What people call it.")
    type: PaymentMethodKind = strawberry.field(description="How it settles.")
    fee_bps: int = strawberry.field(
        default=0, description="What the processor takes, in basis points of the amount."
    )
    fee_fixed: AmountInput | None = strawberry.field(
        default=None, description="What it takes of each payment besides, in the host's currency."
    )


@strawberry.type(description="The new payment method.")
class CreatePaymentMethodPayload(Payload):
    payment_method: PaymentMethod | None = strawberry.field(default=None, description="The payment method.")


@strawberry.input(description="Where a payee wants to be paid.")
class CreatePayoutMethodInput:
    collective: CollectiveRef = strawberry.field(description="The payee; you act for it.")
    name: str = strawberry.field(description="What you call it.")
    type: PayoutMethodKind = strawberry.field(description="BANK_ACCOUNT, PAYPAL or OTHER.")
    details: Json = strawberry.field(description="Private: texts by name, such as an IBAN.")


@strawberry.type(description="The new payout method.")
class CreatePayoutMethodPayload(Payload):
    payout_method: PayoutMethod | None = strawberry.field(default=None, description="The payout method.")


_EDITABLE = (
    "name",
    "slug",
    "legal_name",
    "description",
    "website",
    "location",
    "timezone",
    "image_url",
    "tags",
    "currency",
    "host_fee_bps",
)


@strawberry.type
class CollectiveMutations:
    @strawberry.mutation(
        description="Make a community, nonprofit or business. For every user. CONFLICT: the slug is taken."
    )
    async def create_collective(
        self,
        info: Info,
        input: CreateCollectiveInput,
    ) -> CreateCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                collectives.create,
                type=input.type,
                name=input.name,
                slug=input.slug,
                currency=input.currency,
                description=input.description,
                is_host=input.is_host,
            )
            return {"collective": row}

        return await perform(info, CreateCollectivePayload, work)

    @strawberry.mutation(
        description="Change a collective. For its ADMINs; its fee, for ADMINs of its host. CONFLICT, "
        "INVALID_STATE."
    )
    async def update_collective(
        self,
        info: Info,
        input: UpdateCollectiveInput,
    ) -> UpdateCollectivePayload:
        changes = {
            name: value for name in _EDITABLE if (value := getattr(input, name)) is not strawberry.UNSET
        }

        async def work() -> dict[str, Any]:
            row = await info.context.run(collectives.edit, collective=ref(input.collective), changes=changes)
            return {"collective": row}

        return await perform(info, UpdateCollectivePayload, work)

    @strawberry.mutation(
        description="Put a collective away; its history stays. For its ADMINs. INVALID_STATE while a "
        "balance, a hold or an open order remains."
    )
    async def archive_collective(
        self,
        info: Info,
        input: ArchiveCollectiveInput,
    ) -> ArchiveCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(collectives.archive, collective=ref(input.collective))
            return {"collective": row}

        return await perform(info, ArchiveCollectivePayload, work)

    @strawberry.mutation(
        description="Ask a host to hold a collective's money. For the collective's ADMINs. CONFLICT."
    )
    async def apply_to_host(self, info: Info, input: ApplyToHostInput) -> ApplyToHostPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                hosting.apply,
                collective=ref(input.collective),
                host=ref(input.host),
                message=input.message,
            )
            return {"application": row}

        return await perform(info, ApplyToHostPayload, work)

    @strawberry.mutation(description="Answer an application, once. For ADMINs of the host. INVALID_STATE.")
    async def decide_host_application(
        self,
        info: Info,
        input: DecideHostApplicationInput,
    ) -> DecideHostApplicationPayload:
        async def work() -> dict[str, Any]:
            application_id = public_ids.decode("HostApplication", input.id, path=["input", "id"])
            row = await info.context.run(
                hosting.decide,
                application_id=application_id,
                approve=input.approve,
                reason=input.reason,
            )
            return {"application": row}

        return await perform(info, DecideHostApplicationPayload, work)

    @strawberry.mutation(description="Offer a way to give to a host's collectives. For ADMINs of the host.")
    async def create_payment_method(
        self,
        info: Info,
        input: CreatePaymentMethodInput,
    ) -> CreatePaymentMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payment_methods.create_payment_method,
                host=ref(input.host),
                name=input.name,
                kind=input.type,
                fee_bps=input.fee_bps,
                fee_fixed=asked_or_none(input.fee_fixed),
            )
            return {"payment_method": row}

        return await perform(info, CreatePaymentMethodPayload, work)

    @strawberry.mutation(description="Note where a payee wants to be paid. For the payee and its ADMINs.")
    async def create_payout_method(
        self,
        info: Info,
        input: CreatePayoutMethodInput,
    ) -> CreatePayoutMethodPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                payment_methods.create_payout_method,
                collective=ref(input.collective),
                name=input.name,
                kind=input.type,
                details=input.details,
            )
            return {"payout_method": row}

        return await perform(info, CreatePayoutMethodPayload, work)
