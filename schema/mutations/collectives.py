"""Creating, editing and archiving collectives."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Collective
from schema.types.enums import CollectiveType, Locale
from schema.types.node import CollectiveRef, to_key
from schema.types.scalars import CurrencyCode
from services.collectives import archiving, collectives


@strawberry.input(description="The collective to create.")
class CreateCollectiveInput:
    type: CollectiveType = strawberry.field(description="Kind of entity: COMMUNITY, NONPROFIT or BUSINESS.")
    name: str = strawberry.field(description="Display name of the collective.")
    slug: str = strawberry.field(
        description="Unique public name, used in URLs: 2 to 64 characters of a-z, 0-9 and inner hyphens."
    )
    currency: CurrencyCode = strawberry.field(description="Main currency of the collective's money.")
    description: str | None = strawberry.field(
        default=None, description="Description of the collective. Public."
    )
    tags: list[str] | None = strawberry.field(
        default=None,
        description="Search tags, at most 20. Of tags that differ in case or accents only, the first stays.",
    )
    is_host: bool = strawberry.field(
        default=False,
        description="True if the NONPROFIT or BUSINESS also applies to the platform to hold its own money "
        "and that of others, as by `applyAsHost`. Until it is approved, no money can come to it.",
    )


@strawberry.type(description="The created collective. You are its first admin.")
class CreateCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The created collective.")


@strawberry.input(description="Changes to a collective. Omitted fields stay unchanged.")
class UpdateCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="The collective to change.")
    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Display name of the collective."
    )
    slug: str | None = strawberry.field(
        default=strawberry.UNSET, description="New slug. The old one keeps working."
    )
    legal_name: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Registered legal name. Visible to the collective's admins and accountants.",
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="Description of the collective. Public."
    )
    website: str | None = strawberry.field(
        default=strawberry.UNSET, description="URL of the collective's website."
    )
    location: str | None = strawberry.field(
        default=strawberry.UNSET, description="Location of the collective. For an event, use `updateEvent`."
    )
    timezone: str | None = strawberry.field(
        default=strawberry.UNSET, description="IANA name of the time zone. For an event, use `updateEvent`."
    )
    locale: Locale | None = strawberry.field(
        default=strawberry.UNSET,
        description="Language of a user's mails. Null for the one that their browser asks for.",
    )
    image_url: str | None = strawberry.field(
        default=strawberry.UNSET, description="URL of the collective's picture."
    )
    tags: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Search tags, at most 20. Of tags that differ in case or accents only, the first stays.",
    )
    currency: CurrencyCode | None = strawberry.field(
        default=strawberry.UNSET, description="Main currency. Can be changed only before any money has moved."
    )
    host_fee_bps: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Host fee in basis points, set by admins of the host. On the host itself, its default "
        "rate.",
    )


@strawberry.type(description="The updated collective.")
class UpdateCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The updated collective.")


@strawberry.input(description="The collective to archive.")
class ArchiveCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="The collective to archive.")


@strawberry.type(description="The archived collective.")
class ArchiveCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The archived collective.")


@strawberry.input(description="The archived collective to open again.")
class UnarchiveCollectiveInput:
    collective: CollectiveRef = strawberry.field(description="The archived collective.")


@strawberry.type(description="The collective, open again.")
class UnarchiveCollectivePayload(Payload):
    collective: Collective | None = strawberry.field(default=None, description="The collective, open again.")


_EDITABLE = (
    "name",
    "slug",
    "legal_name",
    "description",
    "website",
    "location",
    "timezone",
    "locale",
    "image_url",
    "tags",
    "currency",
    "host_fee_bps",
)


@strawberry.type
class CollectiveMutations:
    @strawberry.mutation(
        description="Create a community, nonprofit or business. Allowed for every user. Errors: CONFLICT "
        "if the slug is taken, RATE_LIMITED after 20 within a day."
    )
    async def create_collective(
        self,
        info: Info,
        input: CreateCollectiveInput,
    ) -> CreateCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                collectives.create,
                collective_type=input.type,
                name=input.name,
                slug=input.slug,
                currency=input.currency,
                description=input.description,
                tags=input.tags,
                is_host=input.is_host,
                per_day=info.context.settings.collectives_per_day,
            )
            return {"collective": row}

        return await answer_payload(info, CreateCollectivePayload, work)

    @strawberry.mutation(
        description="Change a collective. Allowed for its admins; its host fee, for admins of its host. "
        "Errors: CONFLICT, INVALID_STATE."
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
            row = await info.context.run(
                collectives.edit, collective=to_key(input.collective), changes=changes
            )
            return {"collective": row}

        return await answer_payload(info, UpdateCollectivePayload, work)

    @strawberry.mutation(
        description="Archive a collective with its events; its history is kept. Its invitations and "
        "applications end, registrations for coming events as well, and the sessions and tokens of a user. "
        "Allowed for its admins. Errors: INVALID_STATE while a balance, a hold or an open order remains, or "
        "for the last admin of an open collective."
    )
    async def archive_collective(
        self,
        info: Info,
        input: ArchiveCollectiveInput,
    ) -> ArchiveCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(archiving.archive, collective=to_key(input.collective))
            return {"collective": row}

        return await answer_payload(info, ArchiveCollectivePayload, work)

    @strawberry.mutation(
        description="Open an archived collective again, with the events that were archived with it. What "
        "ended stays ended. Allowed for its admins. Errors: INVALID_STATE."
    )
    async def unarchive_collective(
        self,
        info: Info,
        input: UnarchiveCollectiveInput,
    ) -> UnarchiveCollectivePayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(archiving.unarchive, collective=to_key(input.collective))
            return {"collective": row}

        return await answer_payload(info, UnarchiveCollectivePayload, work)
