"""A person's own data: a copy of them, and their end."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers import personal as resolve
from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload


@strawberry.type(description="The copy that was asked for.")
class ExportMyDataPayload(Payload):
    requested_at: datetime | None = strawberry.field(
        default=None, description="When the copy was asked for. A mail tells when it is ready."
    )


@strawberry.input(description="The confirmation that you are to be erased.")
class EraseMeInput:
    slug: str = strawberry.field(description="Your own slug, as a confirmation.")


@strawberry.type(description="The row that remains of an erased person.")
class EraseMePayload(Payload):
    pseudonym: str | None = strawberry.field(
        default=None, description="Name that stands in the place of yours, in orders and in the ledger."
    )


@strawberry.type
class PersonalMutations:
    @strawberry.mutation(
        description="Ask for a copy of all that the database holds of you: a zip file of JSON and CSV, with "
        "the files that you uploaded. A mail brings the link, which works for 24 hours, in your own session "
        "alone. Refused for access tokens. Errors: CONFLICT while one is made, RATE_LIMITED after 3 within a "
        "day."
    )
    async def export_my_data(self, info: Info) -> ExportMyDataPayload:
        async def work() -> dict[str, Any]:
            return {"requested_at": (await resolve.export_my_data(info)).created_at}

        return await answer_payload(info, ExportMyDataPayload, work)

    @strawberry.mutation(
        description="Erase yourself, for good: name, addresses, texts, files, keys and sessions go, and "
        "memberships end. Orders and the ledger stay under a pseudonym. Refused for access tokens. Errors: "
        "INVALID_INPUT for another slug, INVALID_STATE while a balance or an open order remains, or you are "
        "the last ADMIN of a collective; the message says which."
    )
    async def erase_me(self, info: Info, input: EraseMeInput) -> EraseMePayload:
        async def work() -> dict[str, Any]:
            return {"pseudonym": await resolve.erase_me(info, slug=input.slug)}

        return await answer_payload(info, EraseMePayload, work)
