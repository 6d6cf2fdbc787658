"""Creating, changing and archiving tiers, and setting goals."""

from datetime import datetime
from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.collective import Collective
from schema.types.enums import GiftInterval, GoalKind, TierPricing, TierType
from schema.types.money import AmountInput, to_optional_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.tier import Tier
from services.collectives import goals, tiers
from services.core import public_ids

_TERMS = (
    *("name", "description", "pricing", "capacity", "max_per_person", "opens_at", "closes_at", "position"),
    *("amount", "minimum", "goal", "presets"),
)
_TIER_ID = "ID of the tier, tie_…"


@strawberry.input(description="Something to give to, or to buy from, a collective or an event.")
class CreateTierInput:
    collective: CollectiveRef = strawberry.field(
        description="The collective or event. You must be an admin of it, or of the event's parent."
    )
    type: TierType = strawberry.field(description="Kind of what the giver gets.")
    name: str = strawberry.field(description="Name of the tier, at most 100 characters.")
    description: str | None = strawberry.field(
        default=None, description="Description of the tier, at most 2000 characters. Public."
    )
    pricing: TierPricing = strawberry.field(
        default=TierPricing.FIXED, description="Side that chooses the amount. The collective by default."
    )
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="Price of one; in a flexible tier the suggested amount. In the collective's currency, an "
        "event's in that of its parent.",
    )
    minimum: AmountInput | None = strawberry.field(
        default=None, description="Least amount for one in a flexible tier."
    )
    presets: list[AmountInput] | None = strawberry.field(
        default=None, description="Amounts to offer in a flexible tier, at most 6, none below the minimum."
    )
    interval: GiftInterval | None = strawberry.field(
        default=None,
        description="Time after which a gift in the tier repeats; it never changes. Omit for gifts given "
        "once, as all tickets are.",
    )
    capacity: int | None = strawberry.field(
        default=None, description="Number of places in all. Unlimited if omitted."
    )
    max_per_person: int | None = strawberry.field(
        default=None, description="Number of places that one giver may have. Unlimited if omitted."
    )
    goal: AmountInput | None = strawberry.field(default=None, description="Amount that the tier is to raise.")
    opens_at: datetime | None = strawberry.field(
        default=None, description="When the tier begins to take orders. At once if omitted."
    )
    closes_at: datetime | None = strawberry.field(
        default=None, description="When the tier stops taking orders. Never if omitted."
    )
    position: int = strawberry.field(default=0, description="Place among the other tiers, lowest first.")


@strawberry.type(description="The created tier.")
class CreateTierPayload(Payload):
    tier: Tier | None = strawberry.field(default=None, description="The created tier.")


@strawberry.input(
    description="Changes to an open tier. Omitted fields stay unchanged, and so do orders made before."
)
class UpdateTierInput:
    id: strawberry.ID = strawberry.field(description=_TIER_ID)
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Name of the tier.")
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="Description of the tier. Null removes it."
    )
    pricing: TierPricing | None = strawberry.field(
        default=strawberry.UNSET, description="Side that chooses the amount."
    )
    amount: AmountInput | None = strawberry.field(
        default=strawberry.UNSET, description="Price of one, or the suggested amount. Null removes that."
    )
    minimum: AmountInput | None = strawberry.field(
        default=strawberry.UNSET, description="Least amount for one. Null removes it."
    )
    presets: list[AmountInput] | None = strawberry.field(
        default=strawberry.UNSET, description="Amounts to offer. Null or none removes them."
    )
    capacity: int | None = strawberry.field(
        default=strawberry.UNSET, description="Number of places in all, at least those sold. Null: unlimited."
    )
    max_per_person: int | None = strawberry.field(
        default=strawberry.UNSET, description="Number of places that one giver may have. Null: unlimited."
    )
    goal: AmountInput | None = strawberry.field(
        default=strawberry.UNSET, description="Amount that the tier is to raise. Null removes it."
    )
    opens_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When the tier begins to take orders. Null: at once."
    )
    closes_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When the tier stops taking orders. Null: never."
    )
    position: int | None = strawberry.field(
        default=strawberry.UNSET, description="Place among the other tiers, lowest first."
    )


@strawberry.type(description="The updated tier.")
class UpdateTierPayload(Payload):
    tier: Tier | None = strawberry.field(default=None, description="The updated tier.")


@strawberry.input(description="The tier to archive.")
class ArchiveTierInput:
    id: strawberry.ID = strawberry.field(description=_TIER_ID)


@strawberry.type(description="The archived tier.")
class ArchiveTierPayload(Payload):
    tier: Tier | None = strawberry.field(default=None, description="The archived tier.")


@strawberry.input(description="A goal to set or to end.")
class SetGoalInput:
    collective: CollectiveRef = strawberry.field(
        description="A community, nonprofit or business. You must be an admin of it."
    )
    kind: GoalKind = strawberry.field(description="Kind of amount that counts.")
    amount: AmountInput | None = strawberry.field(
        default=None,
        description="Amount to be reached, in the collective's currency. Without one, the goal ends.",
    )


@strawberry.type(description="The collective with its goals.")
class SetGoalPayload(Payload):
    collective: Collective | None = strawberry.field(
        default=None, description="The collective with its goals."
    )


@strawberry.type
class TierMutations:
    @strawberry.mutation(
        description="Create a tier of a collective or event. Allowed for admins of the collective, or of the "
        "event's parent. Errors: INVALID_STATE, LIMIT_EXCEEDED for more than 30."
    )
    async def create_tier(self, info: Info, input: CreateTierInput) -> CreateTierPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                tiers.create_tier,
                collective=to_key(input.collective),
                kind=input.type,
                interval=input.interval,
                terms=_terms_of(input),
            )
            return {"tier": row}

        return await answer_payload(info, CreateTierPayload, work)

    @strawberry.mutation(
        description="Change an open tier; orders keep what they were made for. Allowed for admins of the "
        "collective, or of the event's parent. Errors: INVALID_STATE."
    )
    async def update_tier(self, info: Info, input: UpdateTierInput) -> UpdateTierPayload:
        async def work() -> dict[str, Any]:
            tier_id = public_ids.decode("Tier", input.id, field="id")
            return {
                "tier": await info.context.run(tiers.change_terms, tier_id=tier_id, changes=_terms_of(input))
            }

        return await answer_payload(info, UpdateTierPayload, work)

    @strawberry.mutation(
        description="Archive a tier, which takes no more orders. Allowed for admins of the collective, of "
        "the event's parent, and of the platform. Errors: INVALID_STATE."
    )
    async def archive_tier(self, info: Info, input: ArchiveTierInput) -> ArchiveTierPayload:
        async def work() -> dict[str, Any]:
            tier_id = public_ids.decode("Tier", input.id, field="id")
            return {"tier": await info.context.run(tiers.archive, tier_id=tier_id)}

        return await answer_payload(info, ArchiveTierPayload, work)

    @strawberry.mutation(
        description="Set a goal of a collective, instead of the one of the same kind, or end that. Allowed "
        "for admins of the collective. Errors: INVALID_STATE."
    )
    async def set_goal(self, info: Info, input: SetGoalInput) -> SetGoalPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                goals.set_goal,
                collective=to_key(input.collective),
                kind=input.kind,
                amount=to_optional_unchecked(input.amount),
            )
            return {"collective": row}

        return await answer_payload(info, SetGoalPayload, work)


def _terms_of(input: CreateTierInput | UpdateTierInput) -> dict[str, Any]:
    """Return the given terms of a tier, with amounts for the services."""
    terms = {name: value for name in _TERMS if (value := getattr(input, name)) is not strawberry.UNSET}
    for name in {"amount", "minimum", "goal"} & terms.keys():
        terms[name] = to_optional_unchecked(terms[name])
    if "presets" in terms:
        terms["presets"] = [to_optional_unchecked(preset) for preset in terms["presets"] or []]
    return terms
